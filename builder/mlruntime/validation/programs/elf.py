"""What is in the ELF files of this container, read without running or loading any of them."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

# Not files of the image.
_ELSEWHERE = frozenset({"/proc", "/sys", "/dev", "/tmp", "/run", "/shared"})
# Where the dynamic linker looks last (ld.so(8), Debian's multiarch on amd64).
_DEFAULT = tuple(
    map(Path, ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"))
)


@dataclass(frozen=True, kw_only=True)
class Library:
    """A dynamically linked ELF file; ``search`` are the directories of its RUNPATH or RPATH."""

    path: Path
    soname: str | None
    needed: tuple[str, ...]
    search: tuple[Path, ...]


class ElfFiles:
    """The ELF files below ``root``."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    @cached_property
    def libraries(self) -> tuple[Library, ...]:
        """Return all that are dynamically linked for this machine, by path."""
        return tuple(found for path in _elf_files(self._root) if (found := _read(path)))

    @cached_property
    def by_soname(self) -> Mapping[str, list[Path]]:
        """Return the files of the libraries by the name they are linked by."""
        found: dict[str, list[Path]] = {}
        for library in self.libraries:
            if library.soname:
                found.setdefault(library.soname, []).append(library.path)
        return found

    @cached_property
    def _cache(self) -> Mapping[str, Path]:
        printed = subprocess.run(
            ["/sbin/ldconfig", "-p"], check=True, capture_output=True, text=True
        ).stdout
        lines = re.findall(r"^\s+(\S+) \(([^)]*)\) => (\S+)$", printed, re.MULTILINE)
        return {name: Path(path) for name, kind, path in reversed(lines) if "x86-64" in kind}

    def find(self, library: Library, name: str) -> Path | None:
        """Return the file that the dynamic linker would take for ``name``, or ``None``."""
        if "/" in name:
            return Path(name) if Path(name).exists() else None
        told = [Path(p) for p in os.environ.get("LD_LIBRARY_PATH", "").split(":") if p]
        places = (*told, *library.search)
        found = [path for place in places if (path := place / name).exists()]
        found += [self._cache[name]] if name in self._cache else []
        found += [path for place in _DEFAULT if (path := place / name).exists()]
        return found[0] if found else None


def _elf_files(root: Path) -> Iterator[Path]:
    """Yield the regular ELF files below ``root``, each once, in order."""
    for folder, names, files in os.walk(root):
        names[:] = sorted(n for n in names if str(Path(folder, n)) not in _ELSEWHERE)
        for path in (Path(folder, name) for name in sorted(files)):
            if path.is_symlink() or not path.is_file():
                continue
            try:
                with path.open("rb") as file:
                    magic = file.read(4)
            except PermissionError:  # a secret of root's is no library
                continue
            if magic == b"\x7fELF":
                yield path


def _read(path: Path) -> Library | None:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        try:
            elf = ELFFile(file)
            if elf.get_machine_arch() != "x64":
                return None
            dynamic = next((s for s in elf.iter_segments("PT_DYNAMIC")), None)
            tags = list(dynamic.iter_tags()) if dynamic else []
        except ELFError:
            return None
    return _library(path, tags) if tags else None


def _library(path: Path, tags: list[Any]) -> Library:
    def texts(kind: str, name: str) -> list[str]:
        return [getattr(tag, name) for tag in tags if tag.entry.d_tag == kind]

    search = texts("DT_RUNPATH", "runpath") or texts("DT_RPATH", "rpath")
    places = [place for text in search for place in text.split(":") if place]
    return Library(
        path=path,
        soname=next(iter(texts("DT_SONAME", "soname")), None),
        needed=tuple(texts("DT_NEEDED", "needed")),
        search=tuple(
            Path(re.sub(r"\$(ORIGIN|\{ORIGIN\})", str(path.parent), place)) for place in places
        ),
    )
