"""What has been installed into one site-packages so far: who brought which file."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from mlruntime.ecosystems.place import Place

# Reads a file again that has been written, for the rare case that another wheel brings it, too.
Again = Callable[[], bytes]


class Collision(ValueError):
    """Two wheels bring the same file with different content."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Installed:
    wheel: str
    size: int
    again: Again


class Site:
    """The files of one place while wheels are installed into it, by their path in the sink."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._files: dict[str, _Installed] = {}
        self._libraries: list[PurePosixPath] = []

    def is_new(self, target: str, wheel: str, size: int, again: Again) -> bool:
        """Note a file of a wheel; return whether it has to be written.

        Wheels that share a namespace package may each bring its ``__init__.py``: as long as it is
        the same, byte for byte, it is there once. Raises ``Collision`` for different bytes.
        """
        path = PurePosixPath(target)
        if path.name.startswith("lib") and ".so" in path.suffixes:
            self._libraries.append(path)
        installed = _Installed(wheel=wheel, size=size, again=again)
        before = self._files.setdefault(target, installed)
        if before is installed:
            return True
        if before.size != size or _sha256(before.again) != _sha256(again):
            raise Collision(f"{target} is also in {before.wheel}, with different content")
        return False

    @property
    def files(self) -> frozenset[str]:
        """Return the paths of all files so far."""
        return frozenset(self._files)

    def libraries(self, pattern: str) -> list[tuple[str, str]]:
        """Return the shared libraries in directories like ``pattern``, by name: (name, path)."""
        if not pattern:
            return []
        site = self.place.site_packages
        found = (p for p in self._libraries if p.parent.match(f"{site}/{pattern}"))
        return sorted({(path.name, str(path)) for path in found})

    def library(self, pattern: str) -> str:
        """Return the one shared library whose path is like ``pattern``, below site-packages.

        Raises ``Collision`` unless there is exactly one.
        """
        wanted = f"{self.place.site_packages}/{pattern}"
        found = sorted({str(path) for path in self._libraries if path.match(wanted)})
        if len(found) != 1:
            raise Collision(f"{len(found)} libraries are like {pattern}, not one")
        return found[0]


def _sha256(again: Again) -> str:
    return hashlib.sha256(again()).hexdigest()
