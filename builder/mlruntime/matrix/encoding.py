"""Translation between the matrix and the solver. Core: no I/O.

Each component is a variable; bit ``i`` of its domain stands for ``releases[i]`` and the bit
after the last release for "left out". Each consequence of a rule is one clause.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mlruntime.matrix.model import Implication, Matrix, mask_of
from mlruntime.solver.search import Clause, Problem, SearchOutcome, conjoin

ANY_VERSION: Final = "any version"


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestLine:
    """One line of a request: the component is wanted, in one of the releases of ``mask``.

    ``spell`` returns a release of it as the matrix spells it.
    """

    component: str
    specifier: SpecifierSet
    mask: int
    spell: Callable[[Version], str] = field(default=str, compare=False, repr=False)

    @property
    def text(self) -> str:
        """Return the line as one would write it, ``tensorflow==2.15.*``."""
        return f"{self.component}{self.specifier}" if len(self.specifier) else self.component

    @property
    def requested(self) -> str:
        """Return the specifier, ``ANY_VERSION`` when empty."""
        return str(self.specifier) or ANY_VERSION


class Encoding:
    """The matrix as a solver's problem. Make it once, ask it often.

    The variables of ``problem`` are the components in the order of preference.
    """

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self._names = matrix.preference
        self._index = {name: i for i, name in enumerate(self._names)}
        self._count = tuple(len(matrix.components[name].releases) for name in self._names)
        self.problem: Final = Problem(
            len(self._names),
            tuple(
                Clause(owner=rule.index, literals=self._literals(implication))
                for rule in matrix.rules
                for implication in rule.implications
            ),
        )

    def _absent(self, name: str) -> int:
        return 1 << self._count[self._index[name]]

    def _literals(self, implication: Implication) -> tuple[tuple[int, int], ...]:
        wanted = implication.mask | (
            self._absent(implication.component) if implication.absent else 0
        )
        literals = [(self._index[implication.component], wanted)]
        for name, mask in implication.when:
            literals.append((self._index[name], self._absent(name) * 2 - 1 & ~mask))
        return conjoin(literals)

    def line(self, component: str, specifier: SpecifierSet) -> RequestLine:
        """Return a request line for a component of the matrix."""
        known = self.matrix.components[component]
        return RequestLine(
            component=component,
            specifier=specifier,
            mask=mask_of(known.releases, (specifier,)),
            spell=known.spell,
        )

    def solve(
        self,
        lines: Iterable[RequestLine],
        *,
        without: frozenset[int] = frozenset(),
        relaxed: Iterable[RequestLine] = (),
    ) -> SearchOutcome:
        """Return the optimum for ``lines``, or what is to blame.

        Components asked for are decided first, in the order of preference, each as new as
        possible; then the others: left out if possible, else as new as possible. Components of
        ``relaxed`` lines come before all, as near as possible to what was asked, left out at
        last. Rules whose index is in ``without`` do not count.
        """
        requested = {line.component: line for line in lines}
        eased = {line.component: line for line in relaxed}
        domains, ranking = [], []
        for name, count in zip(self._names, self._count, strict=True):
            absent = 1 << count
            values = [1 << bit for bit in range(count)]
            if name in eased:
                domains.append(absent * 2 - 1)
                ranking.append([*self._nearest(eased[name]), absent])
            elif name in requested:
                domains.append(requested[name].mask)
                ranking.append(values)
            else:
                domains.append(absent * 2 - 1)
                ranking.append([absent, *values])
        order = sorted(
            range(len(self._names)),
            key=lambda i: (self._names[i] not in eased, self._names[i] not in requested),
        )
        return self.problem.solve(domains, order, ranking, without=without)

    def _nearest(self, line: RequestLine) -> list[int]:
        """Return a component's releases as bits, the nearest to what was asked first."""
        releases = self.matrix.components[line.component].releases
        ascending = sorted(range(len(releases)), key=lambda bit: releases[bit])
        wanted = [place for place, bit in enumerate(ascending) if line.mask >> bit & 1]
        if not wanted:
            named = [Version(s.version.removesuffix(".*")) for s in line.specifier]
            wanted = [sum(release < version for release in releases) for version in named]
        return [
            1 << bit
            for _, bit in sorted(
                (min((abs(place - w) for w in wanted), default=0), bit)
                for place, bit in enumerate(ascending)
            )
        ]

    def distance(self, line: RequestLine, version: Version) -> int:
        """Return how many releases of the component are nearer to what the line asks for."""
        bit = 1 << self.matrix.components[line.component].releases.index(version)
        return self._nearest(line).index(bit)

    def versions(self, values: Iterable[int]) -> dict[str, Version]:
        """Return a solution's versions in order of preference, components left out omitted."""
        found = {}
        for name, count, value in zip(self._names, self._count, values, strict=True):
            if value < 1 << count:
                found[name] = self.matrix.components[name].releases[value.bit_length() - 1]
        return found

    def lines_of(self, outcome: SearchOutcome, lines: Iterable[RequestLine]) -> list[RequestLine]:
        """Return those of ``lines`` that a failed outcome may be blamed on."""
        return [line for line in lines if self._index[line.component] in outcome.narrowed]
