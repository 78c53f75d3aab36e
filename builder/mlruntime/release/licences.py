"""What packages say of their licences, in SPDX's words where theirs can be told. Core: no I/O.

Nothing is guessed: a text that is not machine-readable says nothing here, and a name that SPDX
does not have stays as it is.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from email.parser import HeaderParser
from functools import cache
from typing import Final

from debian.deb822 import Deb822

NOASSERTION: Final = "NOASSERTION"
_FORMAT: Final = re.compile(r"\A\s*Format:.*(copyright-format|dep-?5)", re.IGNORECASE)
_GNU: Final = re.compile(
    r"(?P<name>A?GPL|LGPL|GFDL)(?P<niv>-NIV)?-?v?(?P<major>\d)(?P<minor>\.\d)?(\.0)?(?P<later>\+)?"
)
# Debian's names that differ from SPDX's in more than upper and lower case.
_DEBIAN: Final = {
    "expat": "MIT",
    "apache-2": "Apache-2.0",
    "bsd-2-clauses": "BSD-2-Clause",
    "bsd-3-clauses": "BSD-3-Clause",
    "cc0": "CC0-1.0",
    "mpl-2": "MPL-2.0",
    "ofl": "OFL-1.1",
    "psf-2": "PSF-2.0",
    "zlib/libpng": "Zlib",
}
# How wheels write it in `License`.
_WHEELS: Final = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "http://www.apache.org/licenses/license-2.0": "Apache-2.0",
    "mit license": "MIT",
}
# Classifiers of wheels that name one licence; "BSD License" and the like name several.
_CLASSIFIERS: Final = {
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "zlib/libpng License": "Zlib",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
}


def of_wheel(metadata: str) -> tuple[str, ...]:
    """Return what a wheel's ``METADATA`` says: the expression first, then what names one."""
    headers = HeaderParser().parsestr(metadata.partition("\n\n")[0])
    if expression := headers.get("License-Expression"):
        return (str(expression),)
    short = str(headers.get("License") or "").strip()
    if known := _WHEELS.get(short.lower()) or _fixed(short):
        return (known,)
    if is_expression(short):
        return (short,)
    named = {
        _CLASSIFIERS.get(name, name)
        for classifier in headers.get_all("Classifier", [])
        if classifier.startswith("License ::")
        and (name := classifier.rpartition(" :: ")[2]) != "OSI Approved"
    }
    if named:
        return tuple(sorted(named))
    return (short,) if short and len(short) < 60 and "\n" not in short else ()


def of_copyright(text: str) -> tuple[str, ...]:
    """Return the licences that a ``debian/copyright`` names; none if only people can read it.

    They are those of the whole source package: its paragraphs are about source files.
    """
    if not _FORMAT.match(text):
        return ()
    first, *others = Deb822.iter_paragraphs(text.splitlines(), use_apt_pkg=False)
    named = [p.get("License", "") for p in others if "Files" in p] or [first.get("License", "")]
    found = {name.partition("\n")[0].strip() for name in named}
    return tuple(sorted({one for name in found for one in _parts(name)}))


def _parts(text: str) -> Iterator[str]:
    """Yield the licences of which all hold, each in SPDX's words or as it is."""
    if re.search(r",|and/or|\bor\b|\bwith\b", text):
        yield _of_debian(text)
    else:
        yield from (_of_debian(part) for part in re.split(r"\s+and\s+", text) if part)


def _of_debian(text: str) -> str:
    """Return one ``License:`` of Debian in SPDX's words, or as it is."""
    if "," in text or "and/or" in text:
        return text
    either = [
        [_id(name.strip()) for name in re.split(r"\s+and\s+", part)]
        for part in re.split(r"\s+or\s+", text)
    ]
    if not all(name for names in either for name in names):
        return text
    parts = [" AND ".join(str(name) for name in names) for names in either]
    if len(parts) == 1:
        return parts[0]
    return " OR ".join(f"({part})" if " AND " in part else part for part in parts)


@cache
def _id(name: str) -> str | None:
    """Return SPDX's identifier for a name of Debian's."""
    if found := _GNU.fullmatch(name):
        kind, minor = found["name"], found["minor"] or ".0"
        niv = "-no-invariants" if found["niv"] else ""
        end = "or-later" if found["later"] else "only"
        return _fixed(f"{kind}-{found['major']}{minor}{niv}-{end}")
    return _DEBIAN.get(name.lower()) or _fixed(name)


def _fixed(name: str) -> str | None:
    """Return an identifier of SPDX as SPDX writes it, upper and lower case."""
    from cyclonedx.spdx import fixup_id

    return fixup_id(name)


@cache
def is_expression(text: str) -> bool:
    """Return whether a text is an SPDX expression of licences that SPDX has."""
    from cyclonedx.spdx import is_expression

    return bool(text) and is_expression(text)


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
