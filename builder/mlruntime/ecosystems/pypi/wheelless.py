"""Packages that have no wheel: uv's words about them as one of our errors. Core: no I/O."""

import re
from typing import Final

from mlruntime.errors import InvalidDefinition

# uv says how it was told not to build anything, and for which package that mattered.
_REQUIRED: Final = re.compile(r"[Ww]heels are required for `([^`]+)`")
_NAME: Final = r"Because (?:all versions of )?(\S+?)(?:[=<>!~]=?\S*)? ha(?:s|ve) no "
_NONE: Final = re.compile(_NAME + "usable wheels")
_OTHERS: Final = re.compile(_NAME + r"wheels? with a matching")


def without_wheel(said: str) -> InvalidDefinition | None:
    """Return the error when uv found no solution for want of a wheel, ``None`` otherwise."""
    if match := _REQUIRED.search(said) or _NONE.search(said):
        return _error(match[1], "has no wheel", said)
    if match := _OTHERS.search(said):
        return _error(match[1], "has no wheel for the image's Python and C library", said)
    return None


def _error(name: str, what: str, said: str) -> InvalidDefinition:
    return InvalidDefinition(
        f"{name} {what}, and no recipe to build one",
        why=said,
        hint="ask for a release that has a wheel, or for another package; or have it built here by"
        f" a recipe, images/{name}/recipe.yaml (docs/images.md): a lock never runs what it locks",
    )
