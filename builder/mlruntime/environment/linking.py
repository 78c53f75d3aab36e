"""Files of the store in an environment: shared where the file system can, copied else."""

import errno
import fcntl
import os
import shutil
from typing import Final

from mlruntime.layers.sink import MTIME

# FICLONE of <linux/fs.h>: a copy that shares its blocks until one of the two is written to.
_CLONE: Final = 0x40049409
_CANNOT_CLONE: Final = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS)
# Another file system, one without links, links of others' files forbidden, too many of one file.
_CANNOT_LINK: Final = (
    errno.EXDEV,
    errno.EPERM,
    errno.EMLINK,
    errno.EOPNOTSUPP,
    errno.EACCES,
    errno.ENOSYS,
)

REFLINK: Final = "reflink"
LINK: Final = "hard link"
COPY: Final = "copy"
MODES: Final = (REFLINK, LINK, COPY)


class Linker:
    """Puts files of one place into another, in the best way that works there.

    ``modes`` are the ways to try, best first; one that does not work is not tried again, but for
    a file that has too many links already. ``used`` counts the files of each way.
    """

    def __init__(self, modes: tuple[str, ...] = MODES) -> None:
        self._modes = list(modes)
        self.used = dict.fromkeys(modes, 0)

    def put(self, source: str, target: str, *, executable: bool) -> None:
        """Put one file; its directory exists, and it does not."""
        for mode in tuple(self._modes):
            try:
                _WAYS[mode](source, target, 0o755 if executable else 0o644)
            except _Impossible as problem:
                if problem.always:
                    self._modes.remove(mode)
            else:
                self.used[mode] += 1
                return
        raise AssertionError("a file can always be copied")


class _Impossible(Exception):
    """This way does not work; ``always``: for no other file either."""

    def __init__(self, *, always: bool) -> None:
        super().__init__()
        self.always = always


def _clone(source: str, target: str, mode: int) -> None:
    with open(source, "rb") as old, open(target, "xb") as new:  # noqa: PTH123
        try:
            fcntl.ioctl(new.fileno(), _CLONE, old.fileno())
        except OSError as error:
            os.unlink(target)  # noqa: PTH108
            if error.errno not in _CANNOT_CLONE:
                raise
            raise _Impossible(always=True) from None
        _finished(new.fileno(), mode)


def _link(source: str, target: str, mode: int) -> None:
    del mode  # the store's own: read-only
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        raise _Impossible(always=error.errno != errno.EMLINK) from None


def _copy(source: str, target: str, mode: int) -> None:
    with open(source, "rb") as old, open(target, "xb") as new:  # noqa: PTH123
        shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        _finished(new.fileno(), mode)


def _finished(descriptor: int, mode: int) -> None:
    os.fchmod(descriptor, mode)
    os.utime(descriptor, (MTIME, MTIME))


_WAYS: Final = {REFLINK: _clone, LINK: _link, COPY: _copy}
