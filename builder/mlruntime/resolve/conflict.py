"""Why there is no solution, as data: a minimal core and the nearest changes. Core: no I/O."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Final

from mlruntime.matrix.encoding import Encoding, RequestLine
from mlruntime.matrix.unsatisfiable import minimal_core
from mlruntime.resolve.model import Conflict, Replacement

MOST_CHANGES: Final = 5


def explain_failure(encoding: Encoding, lines: Sequence[RequestLine]) -> Conflict:
    """Return the conflict of a request that has no solution."""
    core_lines, core_rules = minimal_core(encoding, lines)
    return Conflict(
        lines=tuple(core_lines),
        rules=tuple(encoding.matrix.rules[index] for index in sorted(core_rules)),
        changes=tuple(nearest_changes(encoding, lines, core_lines)),
    )


def nearest_changes(
    encoding: Encoding, lines: Sequence[RequestLine], core: Sequence[RequestLine]
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
            outcome = encoding.solve(rest, relaxed=eased)
            if outcome.values is None:
                blamed = {line.component for line in encoding.lines_of(outcome, rest)}
                cores.append(blamed)
                continue
            versions = encoding.versions(outcome.values)
            found.append(
                tuple(Replacement(line=e, version=versions.get(e.component)) for e in eased)
            )
        if found:
            return sorted(found, key=lambda change: _cost(encoding, change))[:MOST_CHANGES]
    return []


def _cost(encoding: Encoding, change: Iterable[Replacement]) -> tuple[int, int, tuple[int, ...]]:
    """Order changes: fewest components left out, then nearest versions, then least preferred."""
    gone = sum(r.version is None for r in change)
    away = sum(encoding.distance(r.line, r.version) for r in change if r.version is not None)
    preference = encoding.matrix.preference
    return gone, away, tuple(-preference.index(r.line.component) for r in change)
