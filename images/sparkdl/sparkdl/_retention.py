"""Which log directories of runs are kept: the newest, and those that somebody still needs.

A run in progress holds a lock on its directory, which ends with its process however that ends,
so runs of other programs that keep their logs in the same place are left alone too. Where the
file system has no such locks nothing is removed.
"""

import contextlib
import fcntl
import os
import re
import shutil
import stat
from pathlib import Path

from sparkdl.horovod.checkpoint import NAME

RESULT = "result.pickle"
_RUN = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


def occupy(path: Path) -> int | None:
    """Mark a run's directory as in progress until the descriptor that this returns is closed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def prune(directory: Path, keep: int) -> list[Path]:
    """Remove all but the newest ``keep`` runs' logs; return what was removed.

    Never removed are runs in progress; nor, and they are not counted either, what no run of
    ours has made, another user's runs, and runs that have left a checkpoint or a result.
    """
    found: list[tuple[str, int, Path]] = []
    try:
        for path in directory.iterdir():
            if (made := _made_by_us(path)) is not None:
                found.append((path.name.rpartition("-")[0], made, path))
    except OSError:
        return []
    # Names begin with the second in which a run started; several may start in one.
    return [path for *_, path in sorted(found, reverse=True)[keep:] if _removed(path)]


def _needed(path: Path) -> bool:
    return (path / NAME).exists() or (path / RESULT).exists()


def _made_by_us(path: Path) -> int | None:
    """Return when a run's directory that may go was last added to, ``None`` for all else."""
    if not _RUN.fullmatch(path.name):
        return None
    try:
        about = path.lstat()
        if _needed(path):
            return None
    except OSError:
        return None
    mine = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid()
    return about.st_mtime_ns if mine else None


def _removed(path: Path) -> bool:
    descriptor = occupy(path)
    if descriptor is None:
        return False
    try:
        if _needed(path):  # its run has saved it since
            return False
        with contextlib.suppress(OSError):
            shutil.rmtree(path)
    finally:
        os.close(descriptor)
    return not path.exists()
