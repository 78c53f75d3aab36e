"""What Debian packages say of their licences, in SPDX's words where those can be told. Core.

Nothing is guessed: a text that is not machine-readable says nothing here, and a name that SPDX
does not have stays as it is.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from debian.deb822 import Deb822

from mlruntime.ecosystems.spdx import fixed

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
        return fixed(f"{kind}-{found['major']}{minor}{niv}-{end}")
    return _DEBIAN.get(name.lower()) or fixed(name)
