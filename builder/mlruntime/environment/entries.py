"""The files of a directory by path, size and sha256: what is there, and what has become of it."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from mlruntime.layers.sink import MTIME
from mlruntime.store.store import file_sha256


class InstalledEntry(msgspec.Struct, frozen=True, array_like=True):
    """A file with its ``size`` in bytes and ``sha256``, or a symbolic link with its ``target``."""

    path: str
    size: int = 0
    sha256: str = ""
    executable: bool = False
    target: str = ""


def listed(root: Path) -> tuple[InstalledEntry, ...]:
    """Return the files and links below a directory, sorted by path; every file is read."""
    return tuple(sorted((_entry(root, path) for path in walked(root)), key=lambda e: e.path))


def walked(root: Path) -> Iterator[str]:
    """Yield the path of every file and link below a directory, relative to it."""
    for folder, folders, files in os.walk(root):
        inside = os.path.relpath(folder, root)
        links = (name for name in folders if os.path.islink(f"{folder}/{name}"))  # noqa: PTH114
        for name in (*files, *links):
            yield name if inside == "." else f"{inside}/{name}"


def _entry(root: Path, path: str) -> InstalledEntry:
    found = root / path
    status = found.lstat()
    if stat.S_ISLNK(status.st_mode):
        return InstalledEntry(path=path, target=os.readlink(found))  # noqa: PTH115
    return InstalledEntry(
        path=path,
        size=status.st_size,
        sha256=file_sha256(found),
        executable=bool(status.st_mode & 0o100),
    )


def is_untouched(path: str, entry: InstalledEntry) -> bool:
    """Return whether a file has the size and the date that it was unpacked with; not read.

    Writing to a file dates it anew. Raises ``FileNotFoundError``.
    """
    status = os.lstat(path)
    return status.st_size == entry.size and status.st_mtime == MTIME


def encoded(entries: Iterable[InstalledEntry]) -> bytes:
    """Return entries as JSON, one a line."""
    return b"[" + b",\n".join(msgspec.json.encode(entry) for entry in entries) + b"]\n"


def decoded(content: bytes) -> tuple[InstalledEntry, ...]:
    """Return entries from JSON; ``ValueError`` for anything else."""
    return msgspec.json.decode(content, type=tuple[InstalledEntry, ...])
