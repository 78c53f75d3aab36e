"""Members of a zip archive as streams, inflated by isal: twice as fast as zlib does it."""

import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, Final

from isal import isal_zlib
from isal.igzip_lib import IsalError

_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")
_SIGNATURE: Final = b"PK\x03\x04"
_RAW: Final = -15
_PACKED: Final = 1 << 18
_PLAIN: Final = 1 << 20
_WHOLE: Final = -1
# No file is longer, and no file can be asked for what is further on.
_LARGEST: Final = 1 << 62


class Member:
    """One member, read once from start to end; ``size`` is its length in bytes.

    ``deflated`` is the length of the deflate stream that it is stored as, or ``None``. ``handle``
    is the archive's own file, wherever it stands. Raises ``zipfile.BadZipFile`` for what is
    damaged, at the latest when its last byte is read, and for a method of compression other than
    deflate.
    """

    def __init__(self, handle: BinaryIO, info: zipfile.ZipInfo) -> None:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile(f"{info.filename} is compressed in an unknown way")
        self.size = info.file_size
        is_deflated = info.compress_type == zipfile.ZIP_DEFLATED
        self.deflated = info.compress_size if is_deflated else None
        self._handle = handle
        self._info = info
        self._at = self._start()
        self._pieces = self.pieces()
        # The rest of the last piece that has not been read yet.
        self._rest = memoryview(b"")
        self._left = info.file_size

    def _start(self) -> int:
        offset = self._info.header_offset
        if not 0 <= offset < _LARGEST:
            raise self._damaged()
        self._handle.seek(offset)
        header = self._handle.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(_SIGNATURE):
            raise self._damaged()
        _, name, extra = _LOCAL_HEADER.unpack(header)
        return offset + _LOCAL_HEADER.size + int(name) + int(extra)

    def read(self, size: int = _WHOLE) -> bytes:
        """Return up to ``size`` bytes, and nothing only at the end; all when it is negative."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_PLAIN), b""))
        while size and self._left and not self._rest:
            self._rest = memoryview(next(self._pieces)[0])
        data, self._rest = bytes(self._rest[:size]), self._rest[size:]
        self._left -= len(data)
        if not self._left:
            for _ in self._pieces:  # to its end, where it is known whether all was well
                pass
        return data

    def pieces(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the whole member: pieces of the content, each with those of its stored form.

        Who calls this does not call ``read``.

        One of a pair may be empty. Only when the last pair has been asked for, and there is no
        more, the pieces are known to be right: the stored form is then a whole deflate stream and
        nothing else (if it is ``deflated``), and the content has the archive's CRC. isal forgives
        what zlib does not, tables with codes that are never used: no compressor makes them.
        """
        crc, left = 0, self.size
        for plain, packed in self._stored() if self.deflated is None else self._inflated():
            crc = isal_zlib.crc32(plain, crc)
            left -= len(plain)
            if left < 0:
                break
            yield plain, packed
        if left or crc != self._info.CRC:
            raise self._damaged()

    def _stored(self) -> Iterator[tuple[bytes, bytes]]:
        return ((chunk, chunk) for chunk in self._fetched())

    def _inflated(self) -> Iterator[tuple[bytes, bytes]]:
        inflate = isal_zlib.decompressobj(_RAW)
        try:
            for packed in self._fetched():
                if inflate.eof:
                    raise self._damaged()
                plain = inflate.decompress(packed, _PLAIN)
                yield plain, packed
                # Output that did not fit comes without new input, too.
                while not inflate.eof and (inflate.unconsumed_tail or len(plain) == _PLAIN):
                    plain = inflate.decompress(inflate.unconsumed_tail, _PLAIN)
                    yield plain, b""
        except IsalError:  # type: ignore[misc]  # its stub does not say that it is an exception
            raise self._damaged() from None
        if not inflate.eof or inflate.unused_data:
            raise self._damaged()

    def _fetched(self) -> Iterator[bytes]:
        at, end = self._at, self._at + self._info.compress_size
        while at < end:
            self._handle.seek(at)
            data = self._handle.read(min(_PACKED, end - at))
            if not data:
                raise self._damaged()
            at += len(data)
            yield data

    def _damaged(self) -> zipfile.BadZipFile:
        return zipfile.BadZipFile(f"{self._info.filename} is damaged")
