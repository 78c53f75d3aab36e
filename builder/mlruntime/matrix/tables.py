"""The matrix as tables. Core: no I/O; ``mlruntime.cli.matrix.show`` prints them."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from packaging.version import Version

from mlruntime.documents.tables import Table
from mlruntime.matrix.model import Component, Matrix, Rule
from mlruntime.matrix.questions import Asker, releases_of
from mlruntime.matrix.wording import (
    rule_json,
    rule_text,
)

# What the overview shows: for each minor of the first, what it can be combined with.
OVERVIEW: Final = (
    ("tensorflow", ("keras", "horovod", "python", "numpy", "cuda", "cudnn", "nccl")),
    ("spark", ("scala", "java", "python", "graphframes", "pandas", "numpy", "pyarrow")),
)


def overview(matrix: Matrix, asker: Asker | None = None) -> tuple[Table, ...]:
    """Return what can be combined with what, by solving: one table for each main component.

    ``asker`` answers for this matrix, if there is one already.
    """
    asker = asker or Asker(matrix)
    return tuple(
        _combinations(asker, main, tuple(o for o in others if o in matrix.components))
        for main, others in OVERVIEW
        if main in matrix.components
    )


def component_list(matrix: Matrix) -> Table:
    """Return all components with their releases."""
    return Table(
        title="Components",
        columns=("component", "releases", "newest", "what"),
        rows=tuple(
            (
                name,
                f"part of {c.part_of}" if c.part_of else f"{len(c.releases)}: {span(c)}",
                c.spell(c.newest),
                c.summary,
            )
            for name, c in matrix.components.items()
        ),
    )


def rule_list(matrix: Matrix, component: str | None = None) -> Table:
    """Return the rules, or those that speak of one component."""
    return Table(
        title="Rules" if component is None else f"Rules about {component}",
        columns=("rule", "says", "evidence", "source"),
        rows=tuple(
            (rule.id, rule.says, f"{rule.evidence}, {rule.date}", rule.source)
            for rule in rules_about(matrix, component)
        ),
    )


def release_list(matrix: Matrix, component: str) -> Table:
    """Return one component's releases by minor, with what each minor can be combined with."""
    others = tuple(
        dict.fromkeys(
            term.component
            for rule in rules_about(matrix, component)
            for term in (*rule.when, *rule.requires, *rule.conflicts)
            if term.component != component
        )
    )
    ordered = tuple(name for name in matrix.preference if name in others)
    return _combinations(Asker(matrix), component, ordered)


def rules_about(matrix: Matrix, component: str | None) -> tuple[Rule, ...]:
    """Return the rules with the component in ``when``, ``requires`` or ``conflicts``."""
    return tuple(
        rule
        for rule in matrix.rules
        if component is None
        or any(t.component == component for t in (*rule.when, *rule.requires, *rule.conflicts))
    )


def _combinations(asker: Asker, main: str, others: Sequence[str]) -> Table:
    rows = []
    components = asker.matrix.components
    component = components[main]
    for releases in _by_minor(component.releases):
        # What goes with the newest release of each minor.
        found = asker.together({main: 1 << component.releases.index(releases[0])}) or {}
        beside = (span(components[o], releases_of(components[o], found.get(o, 0))) for o in others)
        rows.append((span(component, releases), *beside))
    return Table(title=f"{component.title} goes with", columns=(main, *others), rows=tuple(rows))


def _by_minor(releases: Iterable[Version]) -> list[list[Version]]:
    groups: dict[tuple[int, ...], list[Version]] = {}
    for release in releases:
        groups.setdefault(release.release[:2], []).append(release)
    return list(groups.values())


def span(component: Component, chosen: Iterable[Version] | None = None) -> str:
    """Return releases as ranges: ``3.9 to 3.11, 3.13``; a dash when there are none."""
    ascending = sorted(component.releases)
    wanted = set(ascending if chosen is None else chosen)
    runs: list[list[Version]] = []
    for before, release in zip([None, *ascending], ascending, strict=False):
        if release not in wanted:
            continue
        if runs and runs[-1][-1] == before:
            runs[-1].append(release)
        else:
            runs.append([release])
    spell = component.spell
    texts = [
        spell(run[0]) if len(run) == 1 else f"{spell(run[0])} to {spell(run[-1])}" for run in runs
    ]
    return ", ".join(texts) or "-"


def matrix_json(matrix: Matrix, component: str | None = None) -> dict[str, Any]:
    """Return the matrix, or what concerns one component, as JSON."""
    names = [component] if component else list(matrix.components)
    return {
        "components": {name: _component_json(matrix.components[name]) for name in names},
        "preference": list(matrix.preference),
        "rules": [
            {**rule_json(rule), "rule": rule_text(rule)} for rule in rules_about(matrix, component)
        ],
    }


def _component_json(component: Component) -> dict[str, Any]:
    return {
        "title": component.title,
        "summary": component.summary,
        "releases": [component.spell(release) for release in component.releases],
        "on_request": component.on_request,
        "part_of": component.part_of,
        "artifacts": [
            {
                "origin": a.origin,
                "name": a.name,
                "variants": list(a.variants),
                "provides": list(a.provides),
                **({"releases": str(a.releases)} if len(a.releases) else {}),
                **({"excludes": list(a.excludes)} if a.excludes else {}),
            }
            for a in component.artifacts
        ],
    }
