"""Is the matrix sound as a whole? What only solving can tell. Core: no I/O."""

from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from builder.conflict import minimal_core
from builder.facts import Edge, Matrix
from builder.space import Space


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Edges that, between them, make releases of a component unusable everywhere.

    ``where`` is the place of the first of them, ``edges[12].requires.tensorflow``.
    """

    component: str
    releases: tuple[Version, ...]
    edges: tuple[Edge, ...]

    @property
    def where(self) -> str:
        """Return the place to look at first: the edge that speaks of the component itself."""
        own = (e for e in self.edges if any(t.component == self.component for t in e.when))
        return next(own, self.edges[0]).place

    @property
    def what(self) -> str:
        """Return the problem in one line."""
        releases = ", ".join(str(release) for release in self.releases)
        return f"no combination has {self.component} {releases}"

    @property
    def why(self) -> str:
        """Return the edges to blame."""
        return "; ".join(f"{edge.id}: {edge.says}" for edge in self.edges)


def problems(matrix: Matrix) -> tuple[Problem, ...]:
    """Return every set of releases that is part of no complete solution."""
    space = Space(matrix)
    found: dict[tuple[str, frozenset[int]], list[Version]] = {}
    for name, component in matrix.components.items():
        for release in component.releases:
            # Exactly this one: == lets 0.28.1+mlr.1 pass for 0.28.1.
            line = space.line(name, SpecifierSet(f"==={release}"))
            if space.solve([line]).values is None:
                _, edges = minimal_core(space, [line])
                found.setdefault((name, edges), []).append(release)
    return tuple(
        Problem(
            component=name,
            releases=tuple(releases),
            edges=tuple(matrix.edges[index] for index in sorted(edges)),
        )
        for (name, edges), releases in found.items()
    )
