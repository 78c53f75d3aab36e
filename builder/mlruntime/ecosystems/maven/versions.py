"""Versions as Maven orders them, and ranges of them. Core: no I/O.

The order is that of https://maven.apache.org/pom.html#version-order-specification.
"""

import re
from collections.abc import Callable
from functools import cmp_to_key
from itertools import zip_longest
from typing import Any, Final

from mlruntime.errors import Unavailable

# A number, a word, or what follows a hyphen (or a change between digits and letters).
_Item = int | str | list[Any]

_QUALIFIERS: Final = ("alpha", "beta", "milestone", "rc", "snapshot", "", "sp")
_ALIASES: Final = {"ga": "", "final": "", "release": "", "cr": "rc"}
_SHORT: Final = {"a": "alpha", "b": "beta", "m": "milestone"}
_TOKEN: Final = re.compile(r"[0-9]+|[^0-9.\-]+|[.\-]")
_BOUNDS: Final = re.compile(r"([\[(])([^\[\]()]*)([\])])\s*(?:,\s*|$)")
# Longer than any that is published; a list is nested for each change of kind.
_LONGEST: Final = 200


def is_range(version: str) -> bool:
    """Return whether a POM's version is a range, of which one version may be all there is."""
    return bool(set(version) & set("[](),"))


def exactly(version: str) -> str | None:
    """Return the one version that a range allows, ``None`` if it allows more."""
    found = _BOUNDS.fullmatch(version.strip())
    if found and found[1] == "[" and found[3] == "]" and "," not in found[2]:
        return found[2].strip() or None
    return None


def allows(wanted: str, version: str) -> bool:
    """Return whether a range (``[1,2)``, ``(,1],[1.2,)``, ``[1]``) has a version in it.

    A version that is no range is what is preferred: it allows any other.
    Raises ``Unavailable`` for what is no range.
    """
    if not is_range(wanted):
        return True
    text, at, found = wanted.strip(), 0, False
    while at < len(text):
        one = _BOUNDS.match(text, at)
        if one is None:
            raise Unavailable(f"{wanted!r} is no range of versions")
        at = one.end()
        found = found or _within(one[1], one[2], one[3], version)
    return found


def _within(left: str, inside: str, right: str, version: str) -> bool:
    lower, comma, upper = (part.strip() for part in inside.partition(","))
    order = maven_order(version)
    if not comma:
        return bool(order == maven_order(lower))
    above = not lower or order > maven_order(lower) or (left == "[" and order == maven_order(lower))
    below = (
        not upper or order < maven_order(upper) or (right == "]" and order == maven_order(upper))
    )
    return bool(above and below)


def _parsed(version: str) -> list[_Item]:
    """Return a version as Maven nests it: each hyphen, and each change of kind, opens a list."""
    top: list[_Item] = []
    stack = [top]
    before = "."  # what was there last: a dot, a hyphen or a token

    def open_list() -> None:
        inner: list[_Item] = []
        stack[-1].append(inner)
        stack.append(inner)

    for token in _TOKEN.findall(version[:_LONGEST].lower()):
        if token in ".-":
            if before in ".-":
                stack[-1].append(0)
            if token == "-":
                open_list()
        else:
            is_number = token[0] in "0123456789"
            changed = before not in ".-"
            if changed or (not is_number and stack[-1] and before == "."):
                open_list()
            stack[-1].append(int(token) if is_number else token)
        before = token
    return top


def _settled(items: list[_Item]) -> list[_Item]:
    """Return a list with its words as they are compared, less the zeros that say nothing."""
    found: list[_Item] = []
    for index, item in enumerate(items):
        if isinstance(item, list):
            found.append(_settled(item))
        elif isinstance(item, str):
            following = items[index + 1] if index + 1 < len(items) else None
            first = following[0] if isinstance(following, list) and following else None
            short = _SHORT.get(item) if isinstance(first, int) else None
            found.append(short or _ALIASES.get(item, item))
        else:
            found.append(item)
    for index in range(len(found) - 1, -1, -1):
        if found[index] in (0, "", []):
            del found[index]
        elif not isinstance(found[index], list):
            break
    return found


def _word(text: str) -> str:
    return str(_QUALIFIERS.index(text)) if text in _QUALIFIERS else f"{len(_QUALIFIERS)}-{text}"


def _sign(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def _against_nothing(item: _Item) -> int:
    if isinstance(item, list):
        return next((sign for one in item if (sign := _against_nothing(one))), 0)
    return _sign(item, 0) if isinstance(item, int) else _sign(_word(item), _word(""))


# Of two kinds: a number is newer than a list, and a list than a word.
_RANK: Final = {int: 2, list: 1, str: 0}


def _compared(left: _Item | None, right: _Item | None) -> int:
    if left is None or right is None:
        if left is not None:
            return _against_nothing(left)
        return -_against_nothing(right) if right is not None else 0
    if isinstance(left, list) and isinstance(right, list):
        pairs = zip_longest(left, right)
        return next((sign for one, other in pairs if (sign := _compared(one, other))), 0)
    if isinstance(left, str) and isinstance(right, str):
        return _sign(_word(left), _word(right))
    if isinstance(left, int) and isinstance(right, int):
        return _sign(left, right)
    return _sign(_RANK[type(left)], _RANK[type(right)])


_key: Final[Callable[[list[_Item]], Any]] = cmp_to_key(_compared)


def maven_order(version: str) -> Any:
    """Return what Maven's versions are compared and sorted by."""
    return _key(_settled(_parsed(version)))
