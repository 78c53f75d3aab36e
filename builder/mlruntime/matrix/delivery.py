"""Where components are delivered from: the part of the matrix that is about those packages. Core.

A component may be had from several ecosystems. A runtime takes it from one, and every stage sees
a matrix in which there is no other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from mlruntime.matrix.model import Component, Matrix, Rule

# Channels are taken only where a runtime says so: every other origin is where a component is from
# if nothing is said.
ON_REQUEST: Final = "conda"


def delivered(matrix: Matrix, components: Iterable[str] = ()) -> Matrix:
    """Return the matrix of a runtime that takes these components from channels, no other.

    Each has the artifacts of its origin alone, and rules about another delivery are silent.
    """
    chosen = frozenset(components)
    found = {name: _component(one, name in chosen) for name, one in matrix.components.items()}
    # A rule that is silent keeps its place: others are known by theirs.
    rules = (r if _applies(r, chosen) else replace(r, implications=()) for r in matrix.rules)
    return Matrix(components=found, preference=matrix.preference, rules=tuple(rules))


def deliverable(components: Mapping[str, Component]) -> tuple[str, ...]:
    """Return the components that channels have, sorted."""
    return tuple(
        sorted(
            name
            for name, one in components.items()
            if any(artifact.origin == ON_REQUEST for artifact in one.artifacts)
        )
    )


def _component(component: Component, from_channel: bool) -> Component:
    artifacts = tuple(a for a in component.artifacts if (a.origin == ON_REQUEST) == from_channel)
    return replace(component, artifacts=artifacts)


def _applies(rule: Rule, chosen: frozenset[str]) -> bool:
    return all((origin == ON_REQUEST) == (name in chosen) for name, origin in rule.delivered)
