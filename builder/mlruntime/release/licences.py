"""The licences of an image's packages as the documents of a release show them. Core: no I/O."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from mlruntime.ecosystems.spdx import is_expression

NOASSERTION: Final = "NOASSERTION"


def expression(licences: Iterable[str]) -> str | None:
    """Return all of some licences as one SPDX expression, if each is one."""
    parts = tuple(licences)
    if not parts or not all(map(is_expression, parts)):
        return None
    if len(parts) == 1:
        return parts[0]
    return " AND ".join(f"({part})" if " " in part else part for part in parts)


def told(licences: Iterable[str]) -> str:
    """Return some licences for people."""
    parts = tuple(licences)
    return expression(parts) or "; ".join(parts) or NOASSERTION


def table(name: str, packages: Iterable[tuple[str, str, tuple[str, ...]]]) -> str:
    """Return Markdown: how many packages name each licence, and each package's licences."""
    listed = tuple(packages)
    rows = [(package, version, told(licences)) for package, version, licences in listed]
    counted = Counter(one for *_, licences in listed for one in licences or (NOASSERTION,))
    most = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return "\n".join(
        (
            f"# Licences in {name}",
            "",
            "This is what packages say themselves; nobody has checked it. Of a Debian package it is"
            " all that its copyright file names for the source. `NOASSERTION`: it says nothing, or"
            " nothing that is machine-readable.",
            "",
            *_rows(
                ("licence", "packages that name it"),
                ((licence, str(count)) for licence, count in most),
            ),
            "",
            *_rows(("package", "version", "licence"), rows),
            "",
        )
    )


def _rows(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' for _ in columns)} |"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
