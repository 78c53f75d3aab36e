"""A complete, optimal solver for small finite-domain problems. Core: no I/O.

A variable's domain is an integer whose bits are its values. A clause is a tuple of literals
``(variable, mask)`` of which at least one must hold: the variable's value is in the mask. The
solver knows nothing of components; ``mlruntime.resolve.resolution`` translates.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Literal = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Clause:
    """At least one of ``literals`` holds. ``owner`` is what it came from (a rule's index)."""

    owner: int
    literals: tuple[Literal, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchOutcome:
    """What a search found.

    ``values`` is the optimum, one bit per variable, or ``None`` when there is no solution;
    then the clauses of ``owners`` together with the variables in ``narrowed`` (those whose given
    domain mattered) already have none.
    """

    values: tuple[int, ...] | None
    owners: frozenset[int]
    narrowed: frozenset[int]


@dataclass(frozen=True, slots=True)
class Problem:
    """Clauses over ``size`` variables, indexed once and solved many times."""

    size: int
    clauses: tuple[Clause, ...]
    watching: tuple[tuple[Clause, ...], ...] = field(init=False)
    classes: tuple[tuple[int, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        watching: list[list[Clause]] = [[] for _ in range(self.size)]
        masks: list[set[int]] = [set() for _ in range(self.size)]
        for clause in self.clauses:
            for variable, mask in clause.literals:
                watching[variable].append(clause)
                masks[variable].add(mask)
        object.__setattr__(self, "watching", tuple(tuple(w) for w in watching))
        object.__setattr__(self, "classes", tuple(tuple(sorted(m)) for m in masks))

    def solve(
        self,
        domains: Sequence[int],
        order: Sequence[int],
        ranking: Sequence[Sequence[int]],
        *,
        without: frozenset[int] = frozenset(),
    ) -> SearchOutcome:
        """Return the lexicographic optimum, or why there is none.

        Variables are decided in ``order``; each takes the first value (a single bit) of its
        ``ranking`` that leaves a solution. Clauses of the owners in ``without`` do not count.
        """
        search = _Search(self, order, ranking, without)
        values = search.run(list(domains))
        return SearchOutcome(
            values=tuple(values) if values is not None else None,
            owners=frozenset(search.owners),
            narrowed=frozenset(search.touched),
        )


class _Search:
    """One depth-first search. What never pruned anything cannot be to blame for a failure."""

    def __init__(
        self,
        problem: Problem,
        order: Sequence[int],
        ranking: Sequence[Sequence[int]],
        without: frozenset[int],
    ) -> None:
        self._problem = problem
        self._order = order
        self._ranking = ranking
        self._without = without
        self.owners: set[int] = set()
        self.touched: set[int] = set()

    def run(self, domains: list[int]) -> list[int] | None:
        for variable, domain in enumerate(domains):
            if not domain:
                self.touched.add(variable)
                return None
        if not self._propagate(domains, range(self._problem.size)):
            return None
        return self._decide(domains, 0)

    def _decide(self, domains: list[int], depth: int) -> list[int] | None:
        while depth < len(self._order):
            domain = domains[self._order[depth]]
            if domain & (domain - 1):
                break
            depth += 1
        else:
            return domains
        variable = self._order[depth]
        open_values = domains[variable]
        for value in self._ranking[variable]:
            if not value & open_values:
                continue
            trial = list(domains)
            trial[variable] = value
            if self._propagate(trial, (variable,)):
                found = self._decide(trial, depth + 1)
                if found is not None:
                    return found
            # Values that no clause distinguishes fail in the same way.
            open_values &= ~self._alike(variable, value)
            if not open_values:
                break
        return None

    def _alike(self, variable: int, value: int) -> int:
        alike = -1
        for mask in self._problem.classes[variable]:
            alike &= mask if mask & value else ~mask
        return alike

    def _propagate(self, domains: list[int], changed: Iterable[int]) -> bool:
        """Narrow ``domains`` by unit propagation to a fixed point; false when one is empty."""
        queue = list(changed)
        queued = set(queue)
        watching, without = self._problem.watching, self._without
        while queue:
            variable = queue.pop()
            queued.discard(variable)
            for clause in watching[variable]:
                unit: Literal | None = None
                for literal in clause.literals:
                    if domains[literal[0]] & literal[1]:
                        if unit is not None:
                            break
                        unit = literal
                else:
                    if clause.owner in without:
                        continue
                    if unit is None:
                        self._blame(clause)
                        return False
                    target, mask = unit
                    if domains[target] & ~mask:
                        self._blame(clause)
                        domains[target] &= mask
                        if target not in queued:
                            queued.add(target)
                            queue.append(target)
        return True

    def _blame(self, clause: Clause) -> None:
        self.owners.add(clause.owner)
        self.touched.update(variable for variable, _ in clause.literals)


def conjoin(literals: Iterable[Literal]) -> tuple[Literal, ...]:
    """Merge literals about the same variable: either mask will do."""
    merged: dict[int, int] = {}
    for variable, mask in literals:
        merged[variable] = merged.get(variable, 0) | mask
    return tuple(merged.items())
