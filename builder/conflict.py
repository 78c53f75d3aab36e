"""Why there is no solution, as data: a minimal core and the nearest changes. Core: no I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from packaging.version import Version

from builder.facts import Edge
from builder.space import Line, Space

MOST_CHANGES: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Replacement:
    """What to ask for instead of ``line``: ``version``, or nothing at all (``None``)."""

    line: Line
    version: Version | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """``lines`` and ``edges`` have no common solution; without any one of them they have.

    ``changes`` are alternatives, the nearest first; each makes the *whole* request solvable and
    replaces as few lines as possible.
    """

    lines: tuple[Line, ...]
    edges: tuple[Edge, ...]
    changes: tuple[tuple[Replacement, ...], ...]


def explain_failure(space: Space, lines: Sequence[Line]) -> Conflict:
    """Return the conflict of a request that has no solution."""
    core_lines, core_edges = minimal_core(space, lines)
    return Conflict(
        lines=tuple(core_lines),
        edges=tuple(space.matrix.edges[index] for index in sorted(core_edges)),
        changes=tuple(nearest_changes(space, lines, core_lines)),
    )


def minimal_core(
    space: Space, lines: Sequence[Line], among: frozenset[int] | None = None
) -> tuple[list[Line], frozenset[int]]:
    """Return lines and edges (by index) that are unsatisfiable, none of them dispensable.

    By deletion: leave one out; if what remains still has no solution it was not needed.
    """
    every = frozenset(edge.index for edge in space.matrix.edges)
    outcome = space.solve(lines, without=every - among if among is not None else frozenset())
    assert outcome.values is None, "only an unsolvable request has a core"
    kept, edges = space.lines_of(outcome, lines), outcome.owners
    for line in reversed(list(kept)):
        if line not in kept:
            continue
        outcome = space.solve([k for k in kept if k is not line], without=every - edges)
        if outcome.values is None:
            kept = space.lines_of(outcome, [k for k in kept if k is not line])
            edges = outcome.owners
    for index in sorted(edges):
        if index not in edges:
            continue
        outcome = space.solve(kept, without=every - edges | {index})
        if outcome.values is None:
            kept, edges = space.lines_of(outcome, kept), outcome.owners
    return kept, edges


def nearest_changes(
    space: Space, lines: Sequence[Line], core: Sequence[Line]
) -> list[tuple[Replacement, ...]]:
    """Return the smallest sets of replaced lines that make the request solvable.

    Every set must hit every known core, so most candidates are never tried.
    """
    cores = [{line.component for line in core}]
    for size in range(1, len(lines) + 1):
        found = []
        for eased in combinations(lines, size):
            names = {line.component for line in eased}
            if not all(names & known for known in cores):
                continue
            rest = [line for line in lines if line.component not in names]
            outcome = space.solve(rest, relaxed=eased)
            if outcome.values is None:
                blamed = {line.component for line in space.lines_of(outcome, rest)}
                cores.append(blamed)
                continue
            versions = space.versions(outcome.values)
            found.append(
                tuple(Replacement(line=e, version=versions.get(e.component)) for e in eased)
            )
        if found:
            return sorted(found, key=lambda change: _cost(space, change))[:MOST_CHANGES]
    return []


def _cost(space: Space, change: Iterable[Replacement]) -> tuple[int, int, tuple[int, ...]]:
    """Order changes: fewest components left out, then nearest versions, then least preferred."""
    gone = sum(r.version is None for r in change)
    away = sum(space.distance(r.line, r.version) for r in change if r.version is not None)
    preference = space.matrix.preference
    return gone, away, tuple(-preference.index(r.line.component) for r in change)
