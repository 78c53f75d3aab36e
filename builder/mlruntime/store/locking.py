"""File locks: who has a file or a directory for itself, who waits, and where there are none."""

import errno
import fcntl
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mlruntime.errors import StorageError

# Seconds without a word: most waits are shorter.
_PATIENCE: Final = 1.0
# EBADF and EINVAL: so network file systems refuse a lock of what is open for reading only.
_NO_LOCKS: Final = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL)
_MOUNTS: Final = Path("/proc/self/mountinfo")


@contextmanager
def held(
    path: Path,
    *,
    shared: bool = False,
    wait: bool = True,
    say: Callable[[str], None] | None = None,
    instead: str = "name another path",
) -> Iterator[None]:
    """Hold the file lock of a file or directory, waiting for whoever has it.

    Several may hold it ``shared``. ``say`` hears of a wait that takes more than a second; without
    ``wait`` it raises ``BlockingIOError`` instead. Not the package filelock: it has no shared locks
    on the same file, and none on a directory. Raises ``StorageError`` where there are no locks;
    ``instead`` says how to choose another place.
    """
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    descriptor = _opened(path)
    try:
        with _lock_errors(path, instead):
            _lock(descriptor, how, path, say)
        yield
    finally:
        os.close(descriptor)


def taken(directory: Path, *, instead: str = "name another path") -> int | None:
    """Take the lock of a scratch directory; ``None`` when its owner, or another user, has it."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        with _lock_errors(directory, instead):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def lock_if_possible(descriptor: int) -> None:
    """Take the lock of an open file, waiting for whoever has it, where there are locks."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _opened(path: Path) -> int:
    """Open a file for writing if we may: NFS gives a lock for oneself alone to nobody else."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (IsADirectoryError, PermissionError):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _lock(descriptor: int, how: int, path: Path, say: Callable[[str], None] | None) -> None:
    if say is None or how & fcntl.LOCK_NB:
        fcntl.flock(descriptor, how)
        return
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        words = f"waiting for another mlruntime, which has {path}"
        timer = threading.Timer(_PATIENCE, say, (words,))
        timer.daemon = True
        timer.start()
        try:
            fcntl.flock(descriptor, how)
        finally:
            timer.cancel()


@contextmanager
def _lock_errors(path: Path, instead: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise StorageError(
            "this file system has no file locks",
            where=str(path),
            why=f"{file_system(path)}: {error.strerror}",
            hint=f"{instead}; local disks have them",
        ) from None


def file_system(path: Path) -> str:
    """Return the kind of file system that a path is on, and where it is mounted."""
    found = ("unknown file system", Path("/"))
    place = Path(os.path.realpath(path))
    try:
        lines = os.fsdecode(_MOUNTS.read_bytes()).splitlines()
    except OSError:
        return found[0]
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), before.split()[4]))
        # Of two on the same directory, the later one is seen.
        if place.is_relative_to(point) and len(point.parts) >= len(found[1].parts):
            found = (after.split()[0], point)
    return f"{found[0]} at {found[1]}"
