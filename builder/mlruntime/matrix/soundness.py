"""Is the matrix sound as a whole? What only solving can tell. Core: no I/O."""

from dataclasses import dataclass
from datetime import date, timedelta

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mlruntime.matrix.delivery import deliverable, delivered
from mlruntime.matrix.encoding import Encoding
from mlruntime.matrix.model import Matrix, Rule
from mlruntime.matrix.unsatisfiable import (
    minimal_core,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contradiction:
    """Rules that, between them, make releases of a component unusable everywhere.

    ``where`` is the place of the first of them, ``rules[12].requires.tensorflow``.
    """

    component: str
    releases: tuple[Version, ...]
    rules: tuple[Rule, ...]

    @property
    def where(self) -> str:
        """Return the place to look at first: the rule that speaks of the component itself."""
        own = (e for e in self.rules if any(t.component == self.component for t in e.when))
        return next(own, self.rules[0]).place

    @property
    def what(self) -> str:
        """Return the problem in one line."""
        releases = ", ".join(str(release) for release in self.releases)
        return f"no combination has {self.component} {releases}"

    @property
    def why(self) -> str:
        """Return the rules to blame."""
        return "; ".join(f"{rule.id}: {rule.says}" for rule in self.rules)


def dated_later(matrix: Matrix, today: date) -> tuple[Rule, ...]:
    """Return the rules with a date after ``today``, less a day for those who live further east."""
    latest = (today + timedelta(days=1)).isoformat()
    return tuple(rule for rule in matrix.rules if rule.date > latest)


def contradictions(matrix: Matrix) -> tuple[Contradiction, ...]:
    """Return every set of releases that is part of no complete solution.

    What channels have may be taken from them, or not.
    """
    there = deliverable(matrix.components)
    kinds = (delivered(matrix), delivered(matrix, there)) if there else (matrix,)
    encodings = tuple(map(Encoding, kinds))
    found: dict[tuple[str, frozenset[int]], list[Version]] = {}
    for name, component in matrix.components.items():
        for release in component.releases:
            # === because == accepts 0.28.1+mlr.1 for 0.28.1.
            wanted = SpecifierSet(f"==={release}")
            if all(e.solve([e.line(name, wanted)]).values is None for e in encodings):
                _, rules = minimal_core(encodings[0], [encodings[0].line(name, wanted)])
                found.setdefault((name, rules), []).append(release)
    return tuple(
        Contradiction(
            component=name,
            releases=tuple(releases),
            rules=tuple(matrix.rules[index] for index in sorted(rules)),
        )
        for (name, rules), releases in found.items()
    )
