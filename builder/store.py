"""The content-addressed store: downloads, layers and everything derived, on local disk.

Nothing in it is ever half-written: a file is filled under ``tmp/`` and renamed into place once
it is whole and its hash is known. Two processes that want the same thing wait for one another
(``lock``) instead of making it twice. It may be deleted at any time; it is only a cache.
"""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.errors import HashMismatch, OutOfSpace

CHUNK = 1 << 20


class Store:
    """A directory with two kinds of content.

    *Blobs* are known by the sha256 of their bytes (``blobs/sha256/HEX``). *Records* are small
    or derived files known by a key that somebody computed (``KIND/KEY``): the wheel that a
    recipe key stands for, the descriptor of a layer.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def blob(self, sha256: str) -> Path | None:
        """Return the path of a blob, or ``None`` when the store does not have it."""
        path = self._blob_path(sha256)
        return path if path.is_file() else None

    def discard(self, sha256: str) -> None:
        """Remove a blob whose bytes turned out not to be what its name says."""
        self._blob_path(sha256).unlink(missing_ok=True)

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
        """Move a finished file into the store; raise ``HashMismatch`` (and delete it) if it lies."""
        found = file_sha256(path)
        if found != sha256:
            path.unlink(missing_ok=True)
            raise HashMismatch(f"expected sha256 {sha256}", why=f"its bytes have sha256 {found}")
        target = self._blob_path(sha256)
        _made(target.parent)
        path.replace(target)
        return target

    def adopt_record(self, path: Path, kind: str, key: str) -> Path:
        """Move a finished file into place as a record, replacing an older one."""
        target = self.record_path(kind, key)
        _made(target.parent)
        path.replace(target)
        return target

    def write_record(self, kind: str, key: str, text: str) -> Path:
        """Write a small text record in one step."""
        with self.scratch() as directory, full_disk(self.root):
            path = directory / "record"
            path.write_text(text, encoding="utf-8")
            return self.adopt_record(path, kind, key)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a private directory on the store's file system, removed afterwards.

        What a killed process left is removed by the next one: each is held by a file lock.
        """
        parent = _made(self.root / "tmp")
        _sweep(parent)
        directory = Path(tempfile.mkdtemp(prefix="work-", dir=parent))
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(descriptor)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold ``name`` against every other process (and thread) that uses this store."""
        path = _made(self.root / "locks") / re.sub(r"[^A-Za-z0-9._-]", "_", name)
        with path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _made(directory: Path) -> Path:
    with full_disk(directory):
        directory.mkdir(parents=True, exist_ok=True)
    return directory


def _sweep(parent: Path) -> None:
    """Remove scratch directories whose owner is gone."""
    for directory in parent.glob("work-*"):
        try:
            descriptor = os.open(directory, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            # mkdtemp and flock are two steps: leave a directory younger than its lock may be.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if any(directory.iterdir()):
                shutil.rmtree(directory, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)


@contextmanager
def full_disk(where: Path) -> Iterator[None]:
    """Turn "no space left" into an error that says where and what to try."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace(
                "no space left on the disk",
                where=str(where),
                hint="free some, or set MLRUNTIME_STORE",
            ) from None
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise OutOfSpace(
                "cannot write here",
                where=str(where),
                why=error.strerror,
                hint="set MLRUNTIME_STORE",
            ) from None
        raise


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
