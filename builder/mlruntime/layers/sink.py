"""What installs packages writes to a sink: a layer of an image, or a directory on disk."""

import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

# 1980-01-01T00:00:00Z, the earliest time a zip archive can hold. One constant for every file and
# directory: a layer whose directories carried build times would never be shared again.
MTIME: Final = 315532800


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Who owns files, by number."""

    uid: int
    gid: int


class Sink(Protocol):
    """Takes files by their path below some root; nothing ever lands outside of it.

    Paths are relative. Parent directories are made before their first child. A path that
    ``layers.paths`` refuses raises ``UnsafePath``, one that is there already ``FileExistsError``.
    """

    def __contains__(self, path: str) -> bool:
        """Return whether there is an entry with this path."""

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory (and its parents) unless it is there already."""

    def file(self, path: str, content: BinaryIO, size: int, *, executable: bool = False) -> None:
        """Add a regular file of exactly ``size`` bytes, read in blocks."""

    def deflated(
        self,
        path: str,
        pieces: Iterable[tuple[bytes, bytes]],
        size: int,
        *,
        executable: bool = False,
    ) -> None:
        """Add a regular file of exactly ``size`` bytes that comes compressed.

        ``pieces`` are parts of it, and of the raw deflate stream that it is inflated from.
        """

    def data(self, path: str, content: bytes, *, executable: bool = False) -> None:
        """Add a small regular file."""

    def symlink(self, path: str, target: str) -> None:
        """Add a symbolic link."""

    def member(self, info: tarfile.TarInfo, content: BinaryIO | None) -> None:
        """Add an entry of a tar archive with its type and mode."""
