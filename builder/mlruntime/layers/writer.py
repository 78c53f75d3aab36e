"""A deterministic, streamed, compressed layer.

A layer's bytes are a function of the entries given to it and of the constants below, of nothing
else: no clock, no umask, no owner of this process, no locale.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from mlruntime.layers.gzipped import BLOCK, Gzipped, LayerBlob
from mlruntime.layers.headers import header
from mlruntime.layers.paths import WHITEOUT, UnsafePath, checked
from mlruntime.layers.sink import MTIME, Owner

__all__ = ["MEDIA_TYPE", "MTIME", "USER", "USER_ID", "WRITER", "LayerWriter", "blocks"]

MEDIA_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
# Enters every layer's key, as the compressor does.
WRITER: Final = 3
USER_ID: Final = 1000
USER: Final = Owner(uid=USER_ID, gid=USER_ID)
# What belongs to the image's user; everything else is root's.
_OWNED: Final = {"home/ml": USER, "opt/ml": USER}
# What of another archive's entries a layer can have: regular files are regular, however stored.
_STORED_OTHERWISE: Final = (tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE)


class LayerWriter:
    """A ``Sink`` that writes its entries as one compressed layer.

    Paths are relative to the image's root. Parent directories are written on their own, once,
    before their first child. ``owned`` are directories that belong, with what is below them, to
    somebody else than root: unless given, ``/opt/ml`` and ``/home/ml`` to the image's user. A
    shared directory's group is root, and may write: that is how a user id that is given to a
    container (OpenShift's, `docker run --user`) gets in.
    """

    def __init__(self, target: BinaryIO, owned: Mapping[str, Owner] = _OWNED) -> None:
        self._out = Gzipped(target)
        self._seen: set[str] = set()
        self._owned = dict(owned)
        self._below = tuple(f"{path}/" for path in owned)

    def __contains__(self, path: str) -> bool:
        """Return whether there is an entry with this path."""
        return path in self._seen

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory (and its parents) unless it is there already."""
        path = checked(path)
        if path in self._seen or not path:
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
        path = checked(info.name)
        if not path:
            return
        clean = tarfile.TarInfo(path)
        clean.type, clean.mode, clean.size = info.type, info.mode, info.size
        if info.type in _STORED_OTHERWISE:
            clean.type = tarfile.REGTYPE
        clean.uid, clean.gid, clean.linkname = info.uid, info.gid, info.linkname
        if info.islnk():
            clean.linkname = checked(info.linkname)
        self._seen.add(path)
        self._header(clean)
        if content is not None:
            self._copy(content, info.size)

    def removal(self, path: str) -> None:
        """Add a whiteout: what layers below have at this path is gone."""
        folder, slash, name = checked(path).rpartition("/")
        if not name:
            raise UnsafePath("an image cannot do without its root")
        self.directory(folder)
        info = tarfile.TarInfo(f"{folder}{slash}{WHITEOUT}{name}")
        info.mode = 0o644
        self._header(self._with_owner(info))

    def _copy(self, content: BinaryIO, size: int) -> None:
        left = size
        while chunk := content.read(BLOCK):
            self._out.write(chunk)
            left -= len(chunk)
        if left:
            raise ValueError(f"an entry has {left} bytes less than announced")
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
        path = checked(path)
        if not path:
            raise UnsafePath("the root of an image is a directory, and is there already")
        if path in self._seen:
            raise FileExistsError(path)
        self.directory(path.rpartition("/")[0])
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.size, info.linkname = kind, mode, size, link
        self._seen.add(path)
        info = self._with_owner(info)
        if group is not None:
            info.gid = group
        self._header(info)

    def _with_owner(self, info: tarfile.TarInfo) -> tarfile.TarInfo:
        owner = self._owned.get(info.name)
        if owner is None and info.name.startswith(self._below):
            owner = next(o for top, o in self._owned.items() if info.name.startswith(f"{top}/"))
        if owner is not None:
            info.uid, info.gid = owner.uid, owner.gid
        return info

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
