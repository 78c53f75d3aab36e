"""A gzip file of several members, some of them deflate streams that others have made.

A gzip file is a series of members, and what is in it are their contents joined (RFC 1952, 2.2).
So content that comes compressed, as in a wheel, needs no compressing again: its own deflate
stream becomes a member.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, BinaryIO, Final

from isal import igzip, isal_zlib

# isal's output depends on how its input is cut, so every block of a member but its last has this
# size.
BLOCK: Final = 1 << 20
GZIP_LEVEL: Final = 2
# A deflate stream shorter than this (bytes) is not worth a member of its own: that costs some 200
# bytes, for frames and for a tar header that shares its member with nothing.
SPLICED_FROM: Final = 8192
# Enters every layer's key: other compressor, other bytes.
COMPRESSOR: Final = f"isal-{version('isal')}-gzip-{GZIP_LEVEL}-deflate-from-{SPLICED_FROM}"
# Deflate, no flags, no time, no hint at a level, an unknown system.
_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
# The content's CRC-32, and its length as far as 32 bits hold it.
_TRAILER: Final = struct.Struct("<II")
_32_BITS: Final = 0xFFFFFFFF
# With isal: a gzip member (no name and no time in its header) with the largest window.
_GZIP_MEMBER: Final = 31


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerBlob:
    """A finished layer: ``diff_id`` of the tar, ``digest`` and ``size`` (bytes) of the blob."""

    diff_id: str
    digest: str
    size: int
    unpacked: int


class Gzipped:
    """A writable file that compresses, and hashes what goes in and what comes out."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._plain = hashlib.sha256()
        self._packed = hashlib.sha256()
        # One block, filled and emptied over and over: gigabytes pass through here.
        self._block = memoryview(bytearray(BLOCK))
        self._filled = 0
        # The member that is being written, if there is one.
        self._compressor: Any = None
        self.size = 0
        self.unpacked = 0

    def write(self, data: bytes) -> None:
        """Add bytes that are to be compressed."""
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

    def splice(self, pieces: Iterable[tuple[bytes, bytes]]) -> int:
        """Add bytes that come compressed: pieces of them, and of their raw deflate stream.

        Returns how many bytes there were. The caller answers for the stream: that the bytes are
        what it is inflated to, and that it ends where the pieces do.
        """
        self._end_member()
        self._emit(_HEADER)
        crc = size = 0
        for plain, packed in pieces:
            crc = isal_zlib.crc32(plain, crc)
            size += len(plain)
            self._take(plain)
            self._emit(packed)
        self._emit(_TRAILER.pack(crc, size & _32_BITS))
        return size

    def _compress(self, block: memoryview) -> None:
        if self._compressor is None:
            self._compressor = isal_zlib.compressobj(level=GZIP_LEVEL, wbits=_GZIP_MEMBER)
        self._take(block)
        self._emit(self._compressor.compress(block))

    def _end_member(self) -> None:
        if self._filled:
            self._compress(self._block[: self._filled])
            self._filled = 0
        if self._compressor is not None:
            self._emit(self._compressor.flush())
            self._compressor = None

    def _take(self, plain: bytes | memoryview) -> None:
        self._plain.update(plain)
        self.unpacked += len(plain)

    def _emit(self, packed: bytes) -> None:
        self._packed.update(packed)
        self.size += len(packed)
        self._target.write(packed)

    def finish(self) -> LayerBlob:
        """End the file and return what it became."""
        self._end_member()
        return LayerBlob(
            diff_id=f"sha256:{self._plain.hexdigest()}",
            digest=f"sha256:{self._packed.hexdigest()}",
            size=self.size,
            unpacked=self.unpacked,
        )


def inflated(file: BinaryIO) -> Iterator[bytes]:
    """Iterate over what is in a gzip file, in blocks."""
    members = igzip.IGzipFile(fileobj=file)  # type: ignore[no-untyped-call]
    while block := members.read(BLOCK):
        yield block
