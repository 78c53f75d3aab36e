"""Files for containers, and files out of them, as tar archives. What comes out is not trusted."""

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, cast

from mlruntime.errors import CommandFailed
from mlruntime.layers.gzipped import inflated
from mlruntime.layers.writer import blocks

_BLOCK: Final = tarfile.BLOCKSIZE


@dataclass(frozen=True, kw_only=True, slots=True)
class Root:
    """What a container starts with: ``layers`` (gzip files of a tar), unpacked into an image.

    For what runs once, that takes a third of the time of making the layers an image first.
    """

    image: str
    layers: tuple[Path, ...]

    @property
    def contents(self) -> tuple[Callable[[], Iterator[bytes]], ...]:
        """Return the layers as archives for a container."""
        return tuple(partial(_inflated, layer) for layer in self.layers)


def _inflated(layer: Path) -> Iterator[bytes]:
    with layer.open("rb") as file:
        yield from inflated(file)


def packed(
    files: Mapping[str, Path | bytes],
    folders: Iterable[str] = (),
    *,
    user: int = 0,
    mode: int = 0o644,
) -> Iterator[bytes]:
    """Yield a tar archive, a block at a time: files by their path in it, and empty folders.

    Files have this ``mode``, everybody may write into the ``folders``; all are the ``user``'s.
    """
    open_folders = set(folders)
    parents = {str(p) for path in (*files, *open_folders) for p in PurePosixPath(path).parents}
    for name in sorted((parents - {"."}) | open_folders):
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o777 if name in open_folders else 0o755
        info.uid = info.gid = user
        yield info.tobuf(tarfile.GNU_FORMAT)
    for name, content in files.items():
        info = tarfile.TarInfo(name)
        info.mode, info.uid, info.gid = mode, user, user
        if isinstance(content, bytes):
            info.size = len(content)
            yield info.tobuf(tarfile.GNU_FORMAT) + content
        else:
            info.size = content.stat().st_size
            yield info.tobuf(tarfile.GNU_FORMAT)
            yield from blocks(content)
        yield bytes(-info.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def save_file(archive: Iterator[bytes], target: Path) -> None:
    """Write the one regular file that an archive must hold; else ``CommandFailed``."""
    with _opened(archive) as tar:
        found = tar.next()
        if found is None or not found.isreg():
            what = "nothing" if found is None else f"{found.name}, which is no regular file"
            raise CommandFailed(f"a container left {what}")
        _save(tar, found, target)


def read_file(archive: Iterator[bytes]) -> bytes:
    """Return the content of the one regular file that an archive must hold."""
    with _opened(archive) as tar:
        found = tar.next()
        content = tar.extractfile(found) if found is not None and found.isreg() else None
        if content is None:
            raise CommandFailed("a container has no such regular file")
        return content.read()


def save_files(archive: Iterator[bytes], folder: Path) -> tuple[Path, ...]:
    """Write the regular files of a directory that was archived; return their paths, sorted.

    Anything else in it (a link, a device, a directory) raises ``CommandFailed``.
    """
    saved = []
    with _opened(archive) as tar:
        top = tar.next()
        if top is None or not top.isdir():
            raise CommandFailed("a container left no directory")
        for found in tar:
            if found.name == top.name:
                continue
            above, _, name = found.name.rpartition("/")
            if not found.isreg() or above != top.name.rstrip("/") or name in ("", ".", ".."):
                raise CommandFailed(f"a container left {found.name}, which is no regular file")
            _save(tar, found, folder / name)
            saved.append(folder / name)
    return tuple(sorted(saved))


@contextmanager
def _opened(archive: Iterator[bytes]) -> Iterator[tarfile.TarFile]:
    """Open an archive to be read from the front; one that breaks off is ``CommandFailed``."""
    try:
        with tarfile.open(fileobj=reader(archive), mode="r|") as tar:
            yield tar
    except tarfile.TarError as error:
        raise CommandFailed("what a container left cannot be read", why=str(error)) from None


def _save(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    content, left = tar.extractfile(member), member.size
    assert content is not None
    with target.open("xb") as file:
        while block := content.read(1 << 20):
            left -= len(block)
            file.write(block)
    if left:
        raise tarfile.ReadError(f"{member.name} breaks off")


def reader(chunks: Iterator[bytes]) -> BinaryIO:
    """Return what has pieces of bytes as a file to be read from the front."""
    return cast("BinaryIO", io.BufferedReader(_Chunks(chunks), 1 << 20))


class _Chunks(io.RawIOBase):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
