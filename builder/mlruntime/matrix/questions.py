"""What goes with what: questions about releases, answered by the solver. Core: no I/O."""

from collections.abc import Mapping

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mlruntime.matrix.encoding import Encoding, RequestLine
from mlruntime.matrix.model import Component, Matrix


def alike(encoding: Encoding, component: Component) -> tuple[int, ...]:
    """Return the releases of a component in sets that no rule tells apart: what fits one fits all.

    Every release is in one of them; the sets with the preferred releases come first.
    """
    masks = encoding.problem.classes[encoding.matrix.preference.index(component.name)]
    found: dict[tuple[int, ...], int] = {}
    for bit in range(len(component.releases)):
        kind = tuple(mask >> bit & 1 for mask in masks)
        found[kind] = found.get(kind, 0) | 1 << bit
    return tuple(found.values())


class Asker:
    """Answers questions about one matrix. Make it once, ask it often."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.encoding = encoding = Encoding(matrix)
        self._alike = {name: alike(encoding, one) for name, one in matrix.components.items()}
        self._turned: dict[tuple[str, int], dict[str, int]] = {}
        self._answers: dict[str, tuple[tuple[int, dict[str, int]], ...]] = {}

    def together(self, question: Mapping[str, int]) -> dict[str, int] | None:
        """Return, for each component, which releases fit; ``None`` when nothing does.

        A question is some releases of each component that it is about, all to be present.
        """
        components = self.matrix.components
        first = self._solution(question)
        if first is None:
            return None
        component = next(iter(question), "")
        found = dict.fromkeys(components, 0)
        self._note(first, question, found)
        for name, sets in self._alike.items():
            for releases in sets:
                open_ = releases & question.get(name, -1) & ~found[name]
                if not open_:
                    continue
                turned = self._turned.get((name, releases))
                if len(question) == 1 and turned is not None:
                    # Whether these go with those is known from when it was asked of these.
                    found[name] |= open_ if turned.get(component, 0) & question[component] else 0
                    continue
                solution = self._solution({**question, name: open_ & -open_})
                if solution is not None:
                    self._note(solution, question, found)
        return found

    def answers(self, component: Component) -> tuple[tuple[int, dict[str, int]], ...]:
        """Return what goes with each release: (releases with this answer, the answer), in order."""
        if component.name not in self._answers:
            self._answers[component.name] = tuple(self._about(component))
        return self._answers[component.name]

    def _about(self, component: Component) -> list[tuple[int, dict[str, int]]]:
        known: dict[int, dict[str, int] | None] = {}
        for releases in self._alike[component.name]:
            known[releases] = self.together({component.name: releases & -releases})
            self._turned[component.name, releases] = known[releases] or {}
        found: list[tuple[int, dict[str, int]]] = []
        for bit in range(len(component.releases)):
            answer = next(a for releases, a in known.items() if releases >> bit & 1)
            if answer is None:
                continue
            beside = {name: mask for name, mask in answer.items() if name != component.name}
            if found and found[-1][1] == beside:
                found[-1] = (found[-1][0] | 1 << bit, beside)
            else:
                found.append((1 << bit, beside))
        return found

    def _solution(self, question: Mapping[str, int]) -> Mapping[str, Version] | None:
        encoding = self.encoding
        lines = (
            RequestLine(component=name, specifier=SpecifierSet(), mask=mask)
            for name, mask in question.items()
        )
        values = encoding.solve(lines).values
        return None if values is None else encoding.versions(values)

    def _note(
        self, solution: Mapping[str, Version], question: Mapping[str, int], found: dict[str, int]
    ) -> None:
        """Note the releases of a solution, and all that are like them: each of these fits."""
        for name, version in solution.items():
            bit = self.matrix.components[name].releases.index(version)
            sets = self._alike[name]
            found[name] |= next(s for s in sets if s >> bit & 1) & question.get(name, -1)


def releases_of(component: Component, mask: int) -> list[Version]:
    """Return the releases of a set, the preferred ones first."""
    return [release for bit, release in enumerate(component.releases) if mask >> bit & 1]
