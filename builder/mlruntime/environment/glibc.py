"""Which glibc unpacked files need: the newest version of a symbol that they are linked with."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from packaging.version import Version

_MAGIC: Final = b"\x7fELF"
_SYMBOLS: Final = re.compile(r"GLIBC_(\d+(?:\.\d+)+)")
# The oldest that any of TensorFlow's wheels was made for (manylinux2014): what nothing asks for.
OLDEST: Final = "2.17"


def newest(versions: Iterable[str]) -> str:
    """Return the newest of some versions, ``OLDEST`` when there is none."""
    return max((OLDEST, *versions), key=Version)


def needed_glibc(files: Iterable[Path]) -> str:
    """Return the glibc that these files need; what is no ELF file, or a damaged one, needs none."""
    return newest(version for path in files for version in _versions(path))


def _versions(path: Path) -> Iterator[str]:
    with path.open("rb") as handle:
        if handle.read(4) != _MAGIC:
            return
        try:
            section = ELFFile(handle).get_section_by_name(".gnu.version_r")
            if isinstance(section, GNUVerNeedSection):
                for _, symbols in section.iter_versions():
                    for symbol in symbols:
                        if found := _SYMBOLS.fullmatch(symbol.name):
                            yield found[1]
        except (ELFError, ValueError):
            return
