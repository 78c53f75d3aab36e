"""Small random matrices, and an independent, exhaustive reading of what they mean."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from hypothesis import strategies as st
from mlruntime.matrix.parsing import Matrix, parse_matrix
from packaging.specifiers import SpecifierSet
from packaging.version import Version

NAMES = ("alpha", "beta", "gamma", "delta")
# In order of preference: the pre-release is the highest, and yet last.
RELEASES = ("3.0", "2.0", "1.0", "4.0rc1")


@dataclass(frozen=True, kw_only=True)
class Rule:
    when: Mapping[str, tuple[str, ...]]
    requires: Mapping[str, tuple[str, ...]]
    conflicts: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class GeneratedMatrix:
    releases: Mapping[str, tuple[str, ...]]
    on_request: frozenset[str]
    rules: tuple[Rule, ...]
    request: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def matrix(self) -> Matrix:
        return parse_matrix(json.dumps(self._document()), file="matrix.yaml")

    def _document(self) -> dict[str, Any]:
        return {
            "components": {
                name: {
                    "title": name,
                    "summary": "x",
                    "releases": list(releases),
                    "on-request": name in self.on_request,
                }
                for name, releases in self.releases.items()
            },
            "preference": list(self.releases),
            "rules": [
                {
                    "id": f"rule-{index}",
                    "says": f"rule {index}",
                    "when": _specifiers(rule.when),
                    **({"requires": _specifiers(rule.requires)} if rule.requires else {}),
                    **({"conflicts": _specifiers(rule.conflicts)} if rule.conflicts else {}),
                    "evidence": "documented",
                    "source": "https://example.org/",
                    "date": "2026-11-22",
                }
                for index, rule in enumerate(self.rules)
            ],
        }

    def specifiers(self) -> tuple[tuple[str, SpecifierSet], ...]:
        """Requests cannot be alternatives: ask by excluding the others."""
        return tuple(
            (
                name,
                SpecifierSet(",".join(f"!={r}" for r in self.releases[name] if r not in wanted)),
            )
            for name, wanted in self.request.items()
        )

    def holds(self, rule: Rule, chosen: Mapping[str, str | None]) -> bool:
        if any(chosen[name] not in wanted for name, wanted in rule.when.items()):
            return True
        for name, wanted in rule.requires.items():
            if chosen[name] is None and name in self.on_request:
                continue
            if chosen[name] not in wanted:
                return False
        return all(chosen[name] not in bad for name, bad in rule.conflicts.items())

    def solutions(
        self, request: Mapping[str, tuple[str, ...]], rules: tuple[Rule, ...]
    ) -> Iterator[dict[str, str | None]]:
        for values in product(*((*releases, None) for releases in self.releases.values())):
            chosen = dict(zip(self.releases, values, strict=True))
            if all(chosen[name] in wanted for name, wanted in request.items()) and all(
                self.holds(rule, chosen) for rule in rules
            ):
                yield chosen

    def best(self) -> dict[str, Version] | None:
        def cost(chosen: dict[str, str | None]) -> list[int]:
            requested = [
                self.releases[n].index(str(chosen[n])) for n in self.releases if n in self.request
            ]
            others = [
                -1 if chosen[n] is None else self.releases[n].index(str(chosen[n]))
                for n in self.releases
                if n not in self.request
            ]
            return requested + others

        found = min(self.solutions(self.request, self.rules), key=cost, default=None)
        return found and {n: Version(v) for n, v in found.items() if v is not None}

    def solvable(self, request: Mapping[str, tuple[str, ...]], rules: tuple[Rule, ...]) -> bool:
        return next(self.solutions(request, rules), None) is not None


def _specifiers(terms: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {name: [f"=={release}" for release in wanted] for name, wanted in terms.items()}


@st.composite
def generated_matrices(draw: st.DrawFn) -> GeneratedMatrix:
    """Sets are drawn as bit masks, which is many times faster than drawing sets."""

    def some(items: tuple[str, ...], most: int = 99) -> tuple[str, ...]:
        mask = draw(st.integers(1, (1 << len(items)) - 1))
        return tuple(item for bit, item in enumerate(items) if mask >> bit & 1)[:most]

    names = NAMES[: draw(st.integers(2, 4))]
    releases = {name: some(RELEASES) for name in names}

    def terms(about: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        return {name: some(releases[name]) for name in about}

    def rule() -> Rule:
        when, then = some(names, 2), some(names, 2)
        kind = draw(st.integers(0, 2))
        return Rule(
            when=terms(when),
            requires=terms(then) if kind != 0 else {},
            conflicts=terms(then) if kind != 1 else {},
        )

    return GeneratedMatrix(
        releases=releases,
        on_request=frozenset(some(names, 1)) if draw(st.booleans()) else frozenset(),
        rules=tuple(rule() for _ in range(draw(st.integers(0, 7)))),
        request=terms(some(names)),
    )
