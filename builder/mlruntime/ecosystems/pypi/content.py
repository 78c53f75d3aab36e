"""A file of a wheel on its way to a sink: its length is known at once, its hash when it is read."""

import hashlib
import io
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import BinaryIO, cast

from installer.records import Hash, RecordEntry

from mlruntime.ecosystems.pypi.zipped import Member
from mlruntime.layers.gzipped import SPLICED_FROM
from mlruntime.layers.sink import Sink


class SizedStream:
    """A stream that knows its length, as tar must at once, and its hash when it has been read.

    ``recorded`` is what the wheel says it is, if it does: as with other installers, that goes
    into ``RECORD`` as it is. The whole wheel's hash is locked, and each member's CRC is checked.
    """

    def __init__(self, stream: "BinaryIO | Member", size: int, recorded: str = "") -> None:
        self._stream = stream
        self._recorded = Hash.parse(recorded) if recorded else None
        self._digest = hashlib.sha256()
        self.size = size

    @classmethod
    def of(cls, data: bytes) -> "SizedStream":
        """Return content that is in memory."""
        return cls(io.BytesIO(data), len(data))

    def _note(self, content: bytes) -> None:
        if self._recorded is None:
            self._digest.update(content)

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes, all when it is negative."""
        chunk = self._stream.read(size)
        self._note(chunk)
        return chunk

    def write_to(self, sink: Sink, path: str, *, executable: bool) -> None:
        """Add it to a sink; a member of an archive as it is compressed there, if that pays."""
        stream = self._stream
        if isinstance(stream, Member) and (stream.deflated or 0) >= SPLICED_FROM:
            sink.deflated(path, self._pieces(stream), self.size, executable=executable)
        else:
            sink.file(path, cast("BinaryIO", self), self.size, executable=executable)

    def _pieces(self, member: Member) -> Iterator[tuple[bytes, bytes]]:
        for plain, packed in member.pieces():
            self._note(plain)
            yield plain, packed

    def record(self, path: str) -> RecordEntry:
        """Return its line in ``RECORD``, once it has been read."""
        if self._recorded is not None:
            return RecordEntry(path, self._recorded, self.size)
        encoded = urlsafe_b64encode(self._digest.digest()).decode("ascii").rstrip("=")
        return RecordEntry(path, Hash("sha256", encoded), self.size)

    def unread_record(self, path: str) -> RecordEntry:
        """Return its line in ``RECORD``; it is only read if the wheel does not say its hash."""
        if self._recorded is None:
            self.read()
        return self.record(path)
