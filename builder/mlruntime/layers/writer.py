"""A deterministic, streamed, compressed layer.

A layer's bytes are a function of the entries given to it and of the constants below, of nothing
else: no clock, no umask, no owner of this process, no locale.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from mlruntime.layers.gzipped import BLOCK, Gzipped, LayerBlob
from mlruntime.layers.headers import header

# 1980-01-01T00:00:00Z, the earliest time a zip archive can hold. One constant for every file and
# directory: a layer whose directories carried build times would never be shared again.
MTIME: Final = 315532800
MEDIA_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
# Enters every layer's key, as the compressor does.
WRITER: Final = 3
OWNED: Final = ("home/ml", "opt/ml")
USER_ID: Final = 1000


_BELOW_OWNED: Final = tuple(f"{path}/" for path in OWNED)


class LayerWriter:
    """Collects entries and writes them as one compressed layer.

    Paths are relative to the image's root, without a leading slash. Parent directories are
    written on their own, once, before their first child; what lies below ``/opt/ml`` and
    ``/home/ml`` belongs to the image's user (uid and gid 1000), everything else to root. A shared
    directory's group is root, and may write: that is how a user id that is given to a container
    (OpenShift's, `docker run --user`) gets in.
    """

    def __init__(self, target: BinaryIO) -> None:
        self._out = Gzipped(target)
        self._seen: set[str] = set()

    def __contains__(self, path: str) -> bool:
        """Return whether there is an entry with this path."""
        return path in self._seen

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory (and its parents) unless it is there already."""
        if path in self._seen or path in ("", "."):
            return
        self._entry(path, tarfile.DIRTYPE, mode=mode)

    def shared_directory(self, path: str) -> None:
        """Add a directory that is the image user's and open to the group root."""
        self._entry(path, tarfile.DIRTYPE, mode=0o775, group=0)

    def file(self, path: str, content: BinaryIO, size: int, *, executable: bool = False) -> None:
        """Add a regular file of exactly ``size`` bytes, read in blocks."""
        self._entry(path, tarfile.REGTYPE, mode=0o755 if executable else 0o644, size=size)
        left = size
        while chunk := content.read(min(left, BLOCK)):
            self._out.write(chunk)
            left -= len(chunk)
        if left:
            raise ValueError(f"{path}: {left} bytes less than announced")
        self._pad(size)

    def deflated(
        self,
        path: str,
        pieces: Iterable[tuple[bytes, bytes]],
        size: int,
        *,
        executable: bool = False,
    ) -> None:
        """Add a regular file of exactly ``size`` bytes that comes compressed, and leave it so.

        ``pieces`` are parts of it, and of the raw deflate stream it is inflated from, as
        ``Gzipped.splice`` takes them.
        """
        self._entry(path, tarfile.REGTYPE, mode=0o755 if executable else 0o644, size=size)
        if (found := self._out.splice(pieces)) != size:
            raise ValueError(f"{path}: {found} bytes, {size} were announced")
        self._pad(size)

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
        self._pad(size)

    def _pad(self, size: int) -> None:
        self._out.write(bytes(-size % tarfile.BLOCKSIZE))

    def _entry(
        self,
        path: str,
        kind: bytes,
        *,
        mode: int,
        size: int = 0,
        link: str = "",
        group: int | None = None,
    ) -> None:
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{path}: not a path inside an image")
        if path in self._seen:
            raise FileExistsError(path)
        self.directory(path.rpartition("/")[0])
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.size, info.linkname = kind, mode, size, link
        if path in OWNED or path.startswith(_BELOW_OWNED):
            info.uid = info.gid = USER_ID
        if group is not None:
            info.gid = group
        self._seen.add(path)
        self._header(info)

    def _header(self, info: tarfile.TarInfo) -> None:
        info.mtime = MTIME
        self._out.write(header(info))

    def finish(self) -> LayerBlob:
        """Write the end of the archive and return what it became."""
        self._out.write(bytes(2 * tarfile.BLOCKSIZE))
        return self._out.finish()


def blocks(path: Path) -> Iterator[bytes]:
    """Iterate over a file's bytes in blocks."""
    with path.open("rb") as handle:
        while chunk := handle.read(BLOCK):
            yield chunk
