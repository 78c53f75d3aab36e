"""The content-addressed store: downloads, layers and everything derived, on local disk.

Nothing in it is ever half-written: a file is filled under ``tmp/`` and renamed into place once
it is whole and its hash is known. Two processes that want the same thing wait for one another
(``lock``) instead of making it twice. It may be deleted at any time; it is only a cache.
"""

import errno
import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final

from mlruntime.errors import HashMismatch, StorageError, Unavailable
from mlruntime.store.locking import held, lock_if_possible, taken

_LOG: Final = logging.getLogger(__name__)

CHUNK = 1 << 20
_INSTEAD: Final = "set MLRUNTIME_STORE"


class Store:
    """A directory with two kinds of content.

    *Blobs* are known by the sha256 of their bytes (``blobs/sha256/HEX``). *Records* are small
    or derived files known by a key that somebody computed (``KIND/KEY``): the wheel that a
    recipe key stands for, the descriptor of a layer. ``say`` hears what is waited for.
    """

    def __init__(self, root: Path, say: Callable[[str], None] = _LOG.info) -> None:
        self.root = root
        self._say = say

    def blob(self, sha256: str) -> Path | None:
        """Return the path of a blob, or ``None`` when the store does not have it."""
        path = self._blob_path(sha256)
        return path if path.is_file() else None

    def discard(self, sha256: str) -> None:
        """Remove a blob whose bytes turned out not to be what its name says."""
        self._blob_path(sha256).unlink(missing_ok=True)

    def discard_rotten(self, sha256: str) -> bool:
        """Remove a blob whose bytes are not what its name says; return whether that was so."""
        try:
            whole = file_sha256(self._blob_path(sha256)) == sha256
        except FileNotFoundError:  # somebody has deleted it: the store is only a cache
            return False
        if not whole:
            self.discard(sha256)
        return not whole

    def record(self, kind: str, key: str) -> Path | None:
        """Return the path of a record, or ``None``."""
        path = self.record_path(kind, key)
        return path if path.exists() else None

    def record_path(self, kind: str, key: str) -> Path:
        """Return where a record is or would be."""
        return self.root / kind / key

    def _blob_path(self, sha256: str) -> Path:
        return self.root / "blobs" / "sha256" / sha256

    def partial(self, sha256: str) -> Path:
        """Return where a download of this blob collects its bytes; it survives a killed run."""
        path = self.root / "partial" / sha256
        _made(path.parent)
        return path

    def adopt_blob(self, path: Path, sha256: str) -> Path:
        """Move a finished file into the store; delete it and raise if its bytes are wrong."""
        found = file_sha256(path)
        if found != sha256:
            path.unlink(missing_ok=True)
            raise HashMismatch(f"expected sha256 {sha256}", why=f"its bytes have sha256 {found}")
        return self.keep_blob(path, sha256)

    def keep_blob(self, path: Path, sha256: str) -> Path:
        """Move a file into the store whose sha256 was computed while it was written."""
        target = self._blob_path(sha256)
        _made(target.parent)
        with storage_errors(target.parent):
            path.replace(target)
        return target

    def adopt_record(self, path: Path, kind: str, key: str) -> Path:
        """Move a finished file into place as a record, replacing an older one."""
        target = self.record_path(kind, key)
        _made(target.parent)
        with storage_errors(target.parent):
            path.replace(target)
        return target

    def write_record(self, kind: str, key: str, text: str) -> Path:
        """Write a small text record in one step."""
        with self.scratch() as directory, storage_errors(self.root):
            path = directory / "record"
            path.write_text(text, encoding="utf-8")
            return self.adopt_record(path, kind, key)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a private directory on the store's file system, removed afterwards.

        What a killed process left is removed by the next one: each is held by a file lock, and
        none is made or swept while another process does either.
        """
        parent = _made(self.root / "tmp")
        with storage_errors(parent), self._held(parent):
            _sweep(parent)
            directory = Path(tempfile.mkdtemp(prefix="work-", dir=parent))
            descriptor = taken(directory, instead=_INSTEAD)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            if descriptor is not None:
                os.close(descriptor)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold ``name`` against every other process (and thread) that uses this store."""
        path = _made(self.root / "locks") / re.sub(r"[^A-Za-z0-9._-]", "_", name)
        with storage_errors(path.parent):
            path.touch()
        with self._held(path):
            yield

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Keep the store from being pruned; several processes may do so at once."""
        with self._held(self._everything(), shared=True):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Use the store alone; raise ``Unavailable`` while another process uses it."""
        try:
            with self._held(self._everything(), wait=False):
                yield
        except BlockingIOError:
            raise Unavailable(
                "the store is in use",
                where=str(self.root),
                why="another process builds, locks or exports with it",
                hint="try again when that has ended",
            ) from None

    def _held(
        self, path: Path, *, shared: bool = False, wait: bool = True
    ) -> AbstractContextManager[None]:
        return held(path, shared=shared, wait=wait, say=self._say, instead=_INSTEAD)

    def _everything(self) -> Path:
        path = _made(self.root / "locks") / "store"
        with storage_errors(path.parent):
            path.touch()
        return path


def _made(directory: Path) -> Path:
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    return directory


def _sweep(parent: Path) -> None:
    """Remove scratch directories whose owner is gone; the caller holds the lock of ``parent``."""
    for directory in parent.glob("work-*"):
        if (descriptor := taken(directory, instead=_INSTEAD)) is not None:
            _LOG.info("removing %s, left by a run that was killed", directory)
            shutil.rmtree(directory, ignore_errors=True)
            os.close(descriptor)


_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED: Final = (
    errno.EACCES,
    errno.EBUSY,
    errno.EEXIST,
    errno.EIO,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
    errno.EXDEV,
)


@contextmanager
def storage_errors(where: Path, *, instead: str = _INSTEAD) -> Iterator[None]:
    """Turn "no space left" and "not permitted" into an error with a place and a hint.

    ``instead`` says how to choose another place.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageError(
                "no space left on the disk", where=str(where), hint=f"free some, or {instead}"
            ) from None
        if error.errno in _REFUSED:
            raise StorageError(
                "cannot write here", where=str(where), why=error.strerror, hint=instead
            ) from None
        raise


def write_whole(path: Path, content: str | bytes, *, instead: str = "name another folder") -> None:
    """Write a file in one step, its directory made if needed; nobody ever sees half of it.

    What a killed process left beside it is overwritten, and so goes with the next write.
    """
    partial = path.with_name(f".{path.name}.partial")
    with storage_errors(path.parent, instead=instead):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _claimed(partial)
        try:
            with os.fdopen(descriptor, "wb") as sink:
                sink.truncate()
                sink.write(content.encode() if isinstance(content, str) else content)
                sink.flush()
                os.fchmod(sink.fileno(), 0o644)
                partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _claimed(path: Path) -> int:
    """Open a file for writing that no other process writes to: whoever does is waited for."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        lock_if_possible(descriptor)
        # Whoever had it may have put it in its place.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file one more place: a hard link where the file system allows it, else a copy."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or no hard links
        shutil.copyfile(source, target)
