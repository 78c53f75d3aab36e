"""A deterministic, streamed, compressed layer.

A layer's bytes are a function of the entries given to it and of the constants below, of nothing
else: no clock, no umask, no owner of this process, no locale.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Literal

from isal import isal_zlib

# 1980-01-01T00:00:00Z, the earliest time a zip archive can hold. One constant for every file and
# directory: a layer whose directories carried build times would never be shared again.
MTIME: Final = 315532800
# isal's output depends on how its input is cut, so every block but the last has this size.
BLOCK: Final = 1 << 20
GZIP_LEVEL: Final = 2
MEDIA_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
# Enters every layer's key: other compressor, other bytes.
COMPRESSOR: Final = f"isal-{version('isal')}-gzip-{GZIP_LEVEL}"
WRITER: Final = 1
OWNED: Final = ("home/ml", "opt/ml")
USER_ID: Final = 1000


_BELOW_OWNED: Final = tuple(f"{path}/" for path in OWNED)
# What fits into a plain ustar header, with room for the slash of a directory.
_SHORT: Final = 99
_USTAR_SIZE: Final = 8**11
_USTAR: Final = tarfile.USTAR_FORMAT
_PAX: Final = tarfile.PAX_FORMAT


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerBlob:
    """A finished layer: ``diff_id`` of the tar, ``digest`` and ``size`` (bytes) of the blob."""

    diff_id: str
    digest: str
    size: int
    unpacked: int


class _Compressed:
    """A writable file that hashes what goes in and what comes out."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._plain = hashlib.sha256()
        self._packed = hashlib.sha256()
        # One block, filled and emptied over and over: gigabytes pass through here.
        self._block = memoryview(bytearray(BLOCK))
        self._filled = 0
        # 31: a gzip member (no name and no time in its header) with the largest window.
        self._compressor = isal_zlib.compressobj(level=GZIP_LEVEL, wbits=31)
        self.size = 0
        self.unpacked = 0

    def write(self, data: bytes) -> None:
        end = self._filled + len(data)
        if end < BLOCK:
            self._block[self._filled : end] = data
            self._filled = end
            return
        left = memoryview(data)
        while self._filled + len(left) >= BLOCK:
            taken = BLOCK - self._filled
            self._block[self._filled :] = left[:taken]
            self._compress(self._block)
            self._filled, left = 0, left[taken:]
        self._block[: len(left)] = left
        self._filled = len(left)

    def _compress(self, block: memoryview) -> None:
        self._plain.update(block)
        self.unpacked += len(block)
        self._emit(self._compressor.compress(block))

    def _emit(self, packed: bytes) -> None:
        self._packed.update(packed)
        self.size += len(packed)
        self._target.write(packed)

    def finish(self) -> LayerBlob:
        self._compress(self._block[: self._filled])
        self._emit(self._compressor.flush())
        return LayerBlob(
            diff_id=f"sha256:{self._plain.hexdigest()}",
            digest=f"sha256:{self._packed.hexdigest()}",
            size=self.size,
            unpacked=self.unpacked,
        )


class LayerWriter:
    """Collects entries and writes them as one compressed layer.

    Paths are relative to the image's root, without a leading slash. Parent directories are
    written on their own, once, before their first child; what lies below ``/opt/ml`` and
    ``/home/ml`` belongs to the image's user (uid and gid 1000), everything else to root.
    """

    def __init__(self, target: BinaryIO) -> None:
        self._out = _Compressed(target)
        self._seen: set[str] = set()

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory (and its parents) unless it is there already."""
        if path in self._seen or path in ("", "."):
            return
        self._entry(path, tarfile.DIRTYPE, mode=mode)

    def file(self, path: str, content: BinaryIO, size: int, *, executable: bool = False) -> None:
        """Add a regular file of exactly ``size`` bytes, read in blocks."""
        self._entry(path, tarfile.REGTYPE, mode=0o755 if executable else 0o644, size=size)
        left = size
        while chunk := content.read(min(left, BLOCK)):
            self._out.write(chunk)
            left -= len(chunk)
        if left:
            raise ValueError(f"{path}: {left} bytes less than announced")
        self._out.write(bytes(-size % tarfile.BLOCKSIZE))

    def data(self, path: str, content: bytes, *, executable: bool = False) -> None:
        """Add a small regular file."""
        self.file(path, io.BytesIO(content), len(content), executable=executable)

    def symlink(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._entry(path, tarfile.SYMTYPE, mode=0o777, link=target)

    def member(self, info: tarfile.TarInfo, content: BinaryIO | None) -> None:
        """Add an entry of another tar archive: its type, mode and numeric owner are kept."""
        path = str(PurePosixPath(info.name))
        if path in ("", "."):
            return
        clean = tarfile.TarInfo(path)
        clean.type, clean.mode, clean.size = info.type, info.mode, info.size
        clean.uid, clean.gid, clean.linkname = info.uid, info.gid, info.linkname
        self._seen.add(path)
        self._header(clean)
        if content is not None:
            self._copy(content, info.size)

    def _copy(self, content: BinaryIO, size: int) -> None:
        while chunk := content.read(BLOCK):
            self._out.write(chunk)
        self._out.write(bytes(-size % tarfile.BLOCKSIZE))

    def _entry(self, path: str, kind: bytes, *, mode: int, size: int = 0, link: str = "") -> None:
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{path}: not a path inside an image")
        if path in self._seen:
            raise FileExistsError(path)
        self.directory(path.rpartition("/")[0])
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.size, info.linkname = kind, mode, size, link
        if path in OWNED or path.startswith(_BELOW_OWNED):
            info.uid = info.gid = USER_ID
        self._seen.add(path)
        self._header(info)

    def _header(self, info: tarfile.TarInfo) -> None:
        info.mtime = MTIME
        self._out.write(info.tobuf(_header_format(info), "utf-8", "surrogateescape"))

    def finish(self) -> LayerBlob:
        """Write the end of the archive and return what it became."""
        self._out.write(bytes(2 * tarfile.BLOCKSIZE))
        return self._out.finish()


def _header_format(info: tarfile.TarInfo) -> Literal[0, 2]:
    """Return the cheapest format that gives the same bytes as pax, which needs no records then."""
    texts = (info.name, info.linkname)
    if info.size < _USTAR_SIZE and all(len(t) <= _SHORT and t.isascii() for t in texts):
        return _USTAR
    return _PAX


def blocks(path: Path) -> Iterator[bytes]:
    """Iterate over a file's bytes in blocks."""
    with path.open("rb") as handle:
        while chunk := handle.read(BLOCK):
            yield chunk
