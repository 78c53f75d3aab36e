"""A sink that writes into a directory on disk, never through a link and never outside of it."""

import errno
import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from mlruntime.layers.gzipped import BLOCK
from mlruntime.layers.paths import UnsafePath, checked
from mlruntime.layers.sink import MTIME, Owner

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# A link to nothing or to a directory, an empty link, a name that is too long.
_IMPOSSIBLE: Final = (errno.ENOENT, errno.EPERM, errno.EINVAL, errno.ENAMETOOLONG)
_IN_THE_WAY: Final = (errno.ELOOP, errno.ENOTDIR)


class DirectorySink:
    """A ``Sink`` below ``root``, a directory that exists. Use it as a context manager.

    Whatever is there already stays: a path that exists raises ``FileExistsError``, and a link
    where a directory should be ``UnsafePath``. Modes do not depend on the umask, and files are
    dated like those of a layer. ``owner`` gets everything that is made; without one it belongs to
    whoever runs this. Device nodes and FIFOs are refused.
    """

    def __init__(self, root: Path, owner: Owner | None = None) -> None:
        self._root = os.open(root, _FOLDER)
        self._owner = owner

    def __enter__(self) -> "DirectorySink":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def __contains__(self, path: str) -> bool:
        """Return whether there is anything at this path, without following a link to it."""
        try:
            with self._parent(checked(path), make=False) as (folder, name):
                os.stat(name or ".", dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, UnsafePath):
            return False
        return True

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory (and its parents) unless it is there already."""
        if path := checked(path):
            with self._parent(path) as (folder, name):
                os.close(self._folder(folder, name, path, mode))

    def file(self, path: str, content: BinaryIO, size: int, *, executable: bool = False) -> None:
        """Add a regular file of exactly ``size`` bytes, read in blocks."""
        self._write(path, iter(lambda: content.read(BLOCK), b""), size, _mode(executable))

    def deflated(
        self,
        path: str,
        pieces: Iterable[tuple[bytes, bytes]],
        size: int,
        *,
        executable: bool = False,
    ) -> None:
        """Add a regular file of exactly ``size`` bytes from pieces of it; nothing is inflated."""
        self._write(path, (plain for plain, _ in pieces), size, _mode(executable))

    def data(self, path: str, content: bytes, *, executable: bool = False) -> None:
        """Add a small regular file."""
        self.file(path, io.BytesIO(content), len(content), executable=executable)

    def symlink(self, path: str, target: str) -> None:
        """Add a symbolic link; where it points to is not looked at."""
        with self._parent(_below(path)) as (folder, name), _named(path):
            os.symlink(target, name, dir_fd=folder)
            self._own(name, folder)

    def member(self, info: tarfile.TarInfo, content: BinaryIO | None) -> None:
        """Add an entry of a tar archive: its type and mode are kept, its owner is not."""
        if info.isdir():
            self.directory(info.name, info.mode & 0o7777)
        elif info.issym():
            self.symlink(info.name, info.linkname)
        elif info.islnk():
            self._hard_link(info.name, info.linkname)
        elif info.isreg() and content is not None:
            blocks = iter(lambda: content.read(BLOCK), b"")
            self._write(info.name, blocks, info.size, info.mode & 0o7777)
        else:
            raise UnsafePath(f"{info.name}: neither a file nor a directory nor a link")

    def _hard_link(self, path: str, target: str) -> None:
        with (
            _named(path),
            self._parent(_below(target), make=False) as (source, old),
            self._parent(_below(path)) as (folder, name),
        ):
            os.link(old, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)

    def _write(self, path: str, blocks: Iterable[bytes], size: int, mode: int) -> None:
        with self._parent(_below(path)) as (folder, name):
            with _named(path):
                descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as target:
                    left = size
                    for block in blocks:
                        left -= len(block)
                        target.write(block)
                    if left:
                        raise ValueError(f"{path}: {left} bytes less than announced")
                    target.flush()
                    self._own(target.fileno())
                    os.fchmod(target.fileno(), mode)
                    os.utime(target.fileno(), (MTIME, MTIME))
            except BaseException:
                os.unlink(name, dir_fd=folder)
                raise

    @contextmanager
    def _parent(self, path: str, *, make: bool = True) -> Iterator[tuple[int, str]]:
        """Yield the opened directory that ``path`` is in, and its name there."""
        *above, name = path.split("/")
        folder = os.dup(self._root)
        try:
            for part in above:
                inner = self._folder(folder, part, path, 0o755 if make else None)
                os.close(folder)
                folder = inner
            yield folder, name
        finally:
            os.close(folder)

    def _folder(self, folder: int, name: str, path: str, mode: int | None) -> int:
        """Open a directory in another one, made with ``mode`` if it is missing and may be made."""
        try:
            try:
                return os.open(name, _FOLDER, dir_fd=folder)
            except FileNotFoundError:
                if mode is None:
                    raise
            os.mkdir(name, 0o700, dir_fd=folder)
            descriptor = os.open(name, _FOLDER, dir_fd=folder)
            self._own(descriptor)
            os.fchmod(descriptor, mode)
            return descriptor
        except OSError as error:
            if error.errno in _IN_THE_WAY:
                raise UnsafePath(f"{path}: {name} is in the way, and is no directory") from None
            raise

    def _own(self, what: int | str, folder: int | None = None) -> None:
        if self._owner is not None:
            owner = self._owner
            os.chown(what, owner.uid, owner.gid, dir_fd=folder, follow_symlinks=folder is None)


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Let an error tell the whole path: about what is there already, or what cannot be there."""
    try:
        yield
    except FileExistsError:
        raise FileExistsError(path) from None
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise
        raise UnsafePath(f"{path}: it cannot be put there ({error.strerror})") from None


def _below(path: str) -> str:
    found = checked(path)
    if not found:
        raise UnsafePath("the root is a directory, and is there already")
    return found


def _mode(executable: bool) -> int:
    return 0o755 if executable else 0o644
