"""Amounts of memory as Spark and Java spell them: ``4g``, ``512m``. Core: no I/O."""

import re
from typing import Annotated, Final

from mlruntime.documents.schema import described

_UNITS: Final = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024 * 1024}

Memory = Annotated[str, described("an amount of memory", r"^[1-9][0-9]{0,6}[mgt]\Z", "4g")]


def mebibytes(text: str) -> int:
    """Return an amount in MiB."""
    found = re.fullmatch(r"([0-9]+)([kmgt])", text)
    assert found is not None, text
    return int(int(found[1]) * _UNITS[found[2]])
