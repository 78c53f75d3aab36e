"""How grave an advisory is: the words of databases, and CVSS' vectors. Core: no I/O."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

LEVELS: Final = ("unknown", "low", "medium", "high", "critical")
# Lowest CVSS score of each level (CVSS 3.1 section 5, CVSS 4.0 section 6).
_SCORES: Final = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.0, "low"))
# GitHub says "moderate"; "unimportant" is Debian's for what is no danger in its packages.
_WORDS: Final = {"moderate": "medium", "unimportant": "low", "negligible": "low"}


def level_of(advisory: Mapping[str, Any], affected: Iterable[Mapping[str, Any]]) -> str:
    """Return the gravest level that an advisory says, in whole or of the packages ``affected``.

    ``unknown`` when it says none: OSV's ``severity`` has vectors, ``database_specific`` and
    ``ecosystem_specific`` have words.
    """
    said = [level for part in (advisory, *affected) for level in _levels(part)]
    return max(said, key=LEVELS.index, default="unknown")


def _levels(part: Mapping[str, Any]) -> Iterator[str]:
    for name in ("database_specific", "ecosystem_specific"):
        words = part.get(name) or {}
        for word in (words.get("severity"), words.get("urgency")):
            level = str(word or "").lower()
            level = _WORDS.get(level, level)
            if level in LEVELS:
                yield level
    for entry in part.get("severity") or ():
        score = _score(str(entry.get("score") or ""))
        if score is not None:
            yield next(level for least, level in _SCORES if score >= least)


def _score(vector: str) -> float | None:
    """Return the base score of a vector, or of a number; ``None`` for what is neither."""
    if vector.replace(".", "", 1).isdecimal():
        return float(vector)
    from cvss import CVSS2, CVSS3, CVSS4  # type: ignore[import-untyped]
    from cvss.exceptions import CVSSError  # type: ignore[import-untyped]

    kind = {"CVSS:3": CVSS3, "CVSS:4": CVSS4}.get(vector[:6], CVSS2)
    try:
        return float(kind(vector).scores()[0])
    except CVSSError:
        return None
