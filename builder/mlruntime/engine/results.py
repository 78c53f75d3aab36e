"""Files that a container has left on this host: regular files, and nothing in their place."""

import os
import stat
from pathlib import Path

from mlruntime.errors import CommandFailed


def regular(path: Path) -> Path:
    """Return the path of a file that a container has left, once it is known to be one.

    What ran there is not trusted: it may have put a symbolic link, which would be followed on
    this host, or a FIFO, which would be waited for. Raises ``CommandFailed`` for those, and for
    nothing at all.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(path, "it is a symbolic link" if path.is_symlink() else str(error)) from None
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise _refused(path, "it is not a regular file")
    return path


def _refused(path: Path, why: str) -> CommandFailed:
    return CommandFailed(f"a container did not leave {path.name} as a regular file", why=why)
