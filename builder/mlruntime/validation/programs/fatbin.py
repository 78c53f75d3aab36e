"""Which GPU architectures an ELF file has code for: the headers of its fat binaries, read as data.

nvcc and clang put GPU code into a section ``.nv_fatbin``: one fat binary after another, each a
header and then entries, an entry being machine code (SASS) of one architecture or PTX for one.
The layout is that of NVIDIA's ``fatbinary_section.h`` as far as it is published, and of what
``cuobjdump --list-elf --list-ptx`` prints, against which this was compared (docs/gpu.md).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MAGIC = 0xBA55ED50
# magic, version, size of the header, size of what follows it
_BINARY = struct.Struct("<IHHQ")
# kind, -, size of the header, size of the payload, -, -, minor, major, architecture
_ENTRY = struct.Struct("<HHIQIIHHI")
_PTX, _SASS = 1, 2
_SECTIONS = (".nv_fatbin", "__nv_relfatbin")


@dataclass(frozen=True, kw_only=True)
class Architectures:
    """Compute capabilities ("8.0") with machine code, and those with PTX."""

    sass: frozenset[str]
    ptx: frozenset[str]


def architectures(path: Path) -> Architectures:
    """Return what a file has code for; both are empty for a file without GPU code.

    Raises ``ValueError`` for a section that is not laid out as expected: unknown is not "none".
    """
    from elftools.elf.elffile import ELFFile

    found: set[tuple[int, str]] = set()
    with path.open("rb") as file:
        elf = ELFFile(file)
        for name in _SECTIONS:
            section = elf.get_section_by_name(name)
            if section is not None:
                found.update(entries(file, section["sh_offset"], section["sh_size"], path))
    return Architectures(
        sass=frozenset(arch for kind, arch in found if kind == _SASS),
        ptx=frozenset(arch for kind, arch in found if kind == _PTX),
    )


def entries(file: BinaryIO, start: int, size: int, path: Path) -> Iterator[tuple[int, str]]:
    """Yield what is in a section of GPU code of ``size`` bytes: (kind, architecture)."""
    at, end = start, start + size
    while at + _BINARY.size <= end:
        file.seek(at)
        magic, _, header, length = _BINARY.unpack(file.read(_BINARY.size))
        if magic != _MAGIC:
            if magic == 0:  # padding between two of them
                at += 8
                continue
            raise ValueError(f"{path}: no fat binary at {at - start:#x} of its section")
        yield from _of_one(file, at + header, at + header + length, path)
        at += header + length
        at += -at % 8


def _of_one(file: BinaryIO, at: int, end: int, path: Path) -> Iterator[tuple[int, str]]:
    while at + _ENTRY.size <= end:
        file.seek(at)
        kind, _, header, size, _, _, _, _, number = _ENTRY.unpack(file.read(_ENTRY.size))
        if header < _ENTRY.size or not 10 <= number < 1000:
            raise ValueError(f"{path}: a fat binary has an entry for architecture {number}")
        yield kind, f"{number // 10}.{number % 10}"
        at += header + size
