"""Conflicts and resolutions in words, and as JSON. Core: no I/O."""

from collections.abc import Iterable
from typing import Any

from mlruntime.matrix.encoding import ANY_VERSION
from mlruntime.matrix.wording import rule_json, rule_text
from mlruntime.resolve.model import (
    Conflict,
    Reason,
    Replacement,
    Resolution,
)


def conflict_text(conflict: Conflict) -> str:
    """Return the explanation a person reads when there is no solution."""
    text = ["no versions satisfy this request", "", "Asked for:"]
    text += [f"  - {line.text}" for line in conflict.lines]
    if conflict.rules:
        text += ["", "These rules, together, leave nothing:"]
        for rule in conflict.rules:
            text += [f"  - {rule.says}  [{rule.id}]", f"      {rule_text(rule)}"]
            text += [f"      {rule.evidence}, {rule.date}: {rule.source}"]
    else:
        line = conflict.lines[0]
        text += ["", f"No release of {line.component} in the matrix matches {line.requested}."]
    text += ["", *_changes(conflict)]
    return "\n".join(text)


def _changes(conflict: Conflict) -> Iterable[str]:
    if len(conflict.changes) == 1:
        yield f"The nearest change that works: {_change(conflict.changes[0])}"
        return
    yield "Any one of these changes works, the nearest first:"
    for change in conflict.changes:
        yield f"  - {_change(change)}"


def _change(change: Iterable[Replacement]) -> str:
    return ", and ".join(
        f"{r.line.component}=={r.line.spell(r.version)} instead of {r.line.text}"
        if r.version is not None
        else f"leave {r.line.component} out"
        for r in change
    )


def conflict_json(conflict: Conflict) -> dict[str, Any]:
    """Return a conflict's JSON form."""
    return {
        "request": [
            {"component": line.component, "specifier": str(line.specifier)}
            for line in conflict.lines
        ],
        "rules": [rule_json(rule) for rule in conflict.rules],
        "changes": [
            [
                {
                    "component": r.line.component,
                    "instead_of": str(r.line.specifier),
                    "version": r.line.spell(r.version) if r.version is not None else None,
                }
                for r in change
            ]
            for change in conflict.changes
        ],
    }


def reason_text(reason: Reason) -> str:
    """Return why a component has its version, in one line."""
    if reason.requested is None:
        needed = ", ".join(rule.id for rule in reason.needed_by)
        text = f"needed by {needed}"
    elif reason.requested == ANY_VERSION:
        text = "asked for"
    else:
        text = f"asked for {reason.requested}"
    if reason.version == reason.newest:
        return text + "; the newest there is"
    if not reason.bounded_by:
        return text + "; the newest of these"
    ids = ", ".join(rule.id for rule in reason.bounded_by)
    return (
        text
        + f"; the newest that fits: {reason.spell(reason.newest_requested)} is ruled out by {ids}"
    )


def resolution_rows(resolution: Resolution) -> list[tuple[str, str, str]]:
    """Return component, version and reason of each choice."""
    return [(r.component, r.spell(r.version), reason_text(r)) for r in resolution.reasons]


def resolution_json(resolution: Resolution) -> dict[str, Any]:
    """Return a resolution's JSON form."""
    return {
        "versions": {r.component: r.spell(r.version) for r in resolution.reasons},
        "components": [
            {
                "component": r.component,
                "version": r.spell(r.version),
                "requested": r.requested,
                "newest": r.spell(r.newest),
                "needed_by": [rule.id for rule in r.needed_by],
                "bounded_by": [rule.id for rule in r.bounded_by],
                "reason": reason_text(r),
            }
            for r in resolution.reasons
        ],
    }
