"""What wheels say of their licences, in SPDX's words where those can be told. Core: no I/O.

Nothing is guessed: a name that SPDX does not have stays as it is.
"""

from email.parser import HeaderParser
from typing import Final

from mlruntime.ecosystems.spdx import fixed, is_expression

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
    if known := _WHEELS.get(short.lower()) or fixed(short):
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
