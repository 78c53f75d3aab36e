"""A difference as tables, text, Markdown and JSON. Core: no I/O."""

from collections.abc import Mapping
from typing import Any, Final

from mlruntime.documents.tables import (
    Table,
    markdown,
    plain,
)
from mlruntime.image.difference import Changes, Difference, LayerChange, LayerState, Pull, Side

_TITLES: Final = {
    "host": "Host",
    "components": "Components",
    "debian": "Debian packages",
    "python": "Python packages",
    "native": "Compiled here",
    "jars": "Jars",
    "conda": "Conda packages",
}
_ROWS: Final = {"components": "component", "host": "what"}
_REMADE: Final = {"native": "compiled anew"}
_NOT_BUILT: Final = "not built"


def difference_tables(found: Difference) -> list[Table]:
    """Return what changes as tables; an ecosystem without changes has a title and no rows."""
    groups = {"components": found.components, **found.packages}
    layers = Table(
        title=_shared(found),
        columns=("layer", found.a.name, found.b.name, "to pull"),
        rows=tuple(_layer(change) for change in found.layers),
    )
    names = (found.a.name, found.b.name)
    return [*(changes_table(name, changes, names) for name, changes in groups.items()), layers]


def changes_table(group: str, changes: Changes, names: tuple[str, str]) -> Table:
    """Return what changes of components or an ecosystem's packages; ``names`` are the sides'."""
    remade = _REMADE.get(group, "another file")
    what = _ROWS.get(group, "package")
    return Table(
        title=f"{_TITLES[group]}: {_tally(changes, remade)}",
        columns=(what, *names, "change"),
        rows=tuple(
            (c.name, c.a or "-", c.b or "-", remade if c.kind == "remade" else c.kind)
            for c in changes.changed
        ),
    )


def _tally(changes: Changes, remade: str) -> str:
    counts = [
        (changes.count("added"), "added"),
        (changes.count("removed"), "removed"),
        (changes.count("changed"), "changed"),
        (changes.count("remade"), remade),
        (changes.same, "the same"),
    ]
    return ", ".join(f"{count} {what}" for count, what in counts if count) or "none"


def _shared(found: Difference) -> str:
    there = sum(change.b is not None for change in found.layers)
    shared = sum(change.shared for change in found.layers)
    return f"Layers: {shared} of {there} shared"


def _layer(change: LayerChange) -> tuple[str, str, str, str]:
    if change.b is None:
        needed = "gone"
    elif change.shared:
        needed = "shared"
    else:
        needed = _size(change.b)
    return change.name, _size(change.a), _size(change.b), needed


def _size(state: LayerState | None) -> str:
    if state is None:
        return "-"
    return _mb(state.blob.size) if state.blob else _NOT_BUILT


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def pull_text(found: Difference) -> str:
    """Return in a sentence what has to be transferred to get from A to B."""
    pull = found.pull
    if not found.classic_pull.layers:
        return f"Nothing to pull: {found.a.name} has every layer of {found.b.name}."
    route, known = f"from {found.a.name} to {found.b.name}", len(pull.layers) - len(pull.unknown)
    parts = [f"To pull {route}: {_mb(pull.size)} in {known} layers."] if known else []
    if pull.unknown:
        begin = "Beyond that, layers" if known else f"To pull {route}: layers"
        names = ", ".join(pull.unknown)
        parts.append(f"{begin} whose size is not known, for they were not built here: {names}.")
    classic = found.classic_pull
    if classic.layers != pull.layers:
        size = f"{_mb(classic.size)} in " if not classic.unknown else ""
        parts.append(
            "Docker's classic image store shares layers only from the bottom up, and pulls"
            f" {size}{len(classic.layers)} layers."
        )
    return " ".join(parts)


def difference_text(found: Difference) -> str:
    """Return the text form; tables without rows are their titles alone."""
    return "\n\n".join(
        [*(plain(t) if t.rows else t.title for t in difference_tables(found)), pull_text(found)]
    )


def difference_markdown(found: Difference) -> str:
    """Return the Markdown form."""
    parts = [f"## From {found.a.name} to {found.b.name}"]
    for table in difference_tables(found):
        parts += [f"### {table.title}", *([markdown(table)] if table.rows else [])]
    return "\n\n".join([*parts, pull_text(found)])


def difference_json(found: Difference) -> dict[str, Any]:
    """Return the JSON form; sizes in bytes, compressed, ``null`` for what was not built here."""
    return {
        "a": _side_json(found.a),
        "b": _side_json(found.b),
        "components": [
            {"component": c.name, "change": c.kind, "a": c.a, "b": c.b}
            for c in found.components.changed
        ],
        "packages": packages_json(found.packages),
        "layers": [
            {
                "name": change.name,
                "shared": change.shared,
                "a": _state_json(change.a),
                "b": _state_json(change.b),
            }
            for change in found.layers
        ],
        "pull": _pull_json(found.pull),
        "classic_pull": _pull_json(found.classic_pull),
    }


def packages_json(found: Mapping[str, Changes]) -> dict[str, Any]:
    """Return the JSON form of what changes of each ecosystem's packages."""
    return {
        name: {"same": changes.same, "changes": changes_json(changes)}
        for name, changes in found.items()
    }


def changes_json(found: Changes) -> list[dict[str, Any]]:
    """Return the JSON form of what changes of a group."""
    return [{"name": c.name, "change": c.kind, "a": c.a, "b": c.b} for c in found.changed]


def _pull_json(pull: Pull) -> dict[str, Any]:
    return {"size": pull.size, "layers": list(pull.layers), "unknown": list(pull.unknown)}


def _side_json(side: Side) -> dict[str, str]:
    return {
        "name": side.name,
        "runtime": side.lock.runtime,
        "variant": side.plan.variant,
        "lock_digest": side.lock.digest,
    }


def _state_json(state: LayerState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    blob = state.blob
    return {
        "key": state.key,
        "digest": blob.digest if blob else None,
        "size": blob.size if blob else None,
    }
