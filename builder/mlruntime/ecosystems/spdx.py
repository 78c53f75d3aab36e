"""SPDX's identifiers and expressions of licences, as its own list has them. Core: no I/O."""

from functools import cache


def fixed(name: str) -> str | None:
    """Return an identifier of SPDX as SPDX writes it, upper and lower case."""
    from cyclonedx.spdx import fixup_id

    return fixup_id(name)


@cache
def is_expression(text: str) -> bool:
    """Return whether a text is an SPDX expression of licences that SPDX has."""
    from cyclonedx.spdx import is_expression

    return bool(text) and is_expression(text)
