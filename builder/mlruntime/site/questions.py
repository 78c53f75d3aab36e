"""What the reader's browser answers questions from. Core: values in, values out.

Sets of releases are bit masks, as in the matrix; the browser gets them as hexadecimal numbers, so
that only Python knows how versions compare.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from packaging.version import Version

from mlruntime.matrix.model import Component, Matrix, Rule
from mlruntime.matrix.questions import Asker


def question_data(asker: Asker, runtimes: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return what the browser answers questions from.

    ``runtimes`` are the versions that each runtime has, by component.
    """
    matrix = asker.matrix
    return {
        "components": [_component(matrix.components[name]) for name in matrix.preference],
        "clauses": [
            [clause.owner, [[variable, _hex(mask)] for variable, mask in clause.literals]]
            for clause in asker.encoding.problem.clauses
        ],
        "rules": [[rule.id, rule.says, rule.evidence] for rule in matrix.rules],
        "runtimes": [
            [runtime, [[name, _hex(mask)] for name, mask in _had(matrix, versions)]]
            for runtime, versions in runtimes.items()
        ],
    }


def choices(component: Component) -> Iterator[tuple[str, int]]:
    """Yield what can be asked of a component: every minor of more than one release, every release.

    Each with the releases it stands for.
    """
    minors: dict[str, int] = {}
    for bit, release in enumerate(component.releases):
        minor = ".".join(str(part) for part in release.release[:2])
        minors[minor] = minors.get(minor, 0) | 1 << bit
    spelled = [component.spell(release) for release in component.releases]
    yield from ((m, mask) for m, mask in minors.items() if mask & (mask - 1) and m not in spelled)
    yield from ((text, 1 << bit) for bit, text in enumerate(spelled))


def _component(component: Component) -> dict[str, Any]:
    return {
        "name": component.name,
        "title": component.title,
        "releases": [component.spell(release) for release in component.releases],
        "ascending": _ascending(component),
        "choices": [[text, _hex(mask)] for text, mask in choices(component)],
    }


def _ascending(component: Component) -> list[int]:
    """Return the places of the releases, oldest first: ranges are spoken of in this order."""
    return sorted(range(len(component.releases)), key=lambda bit: component.releases[bit])


def _had(matrix: Matrix, versions: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    for name, version in versions.items():
        component = matrix.components.get(name)
        if component is not None and Version(version) in component.releases:
            yield name, 1 << component.releases.index(Version(version))


def _hex(mask: int) -> str:
    return f"{mask:x}"


def speaks_of(rule: Rule) -> tuple[str, ...]:
    """Return the components that a rule is about."""
    terms = (*rule.when, *rule.requires, *rule.conflicts)
    return tuple(dict.fromkeys(term.component for term in terms))
