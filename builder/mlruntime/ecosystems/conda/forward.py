"""A stream that is read once and forward, for ``tarfile``; it refuses to hold much at once."""

import io
from typing import Final, Protocol

# tarfile reads an extended header in one piece, as long as the archive says it is.
_AT_ONCE: Final = 16 << 20


class Readable(Protocol):
    """What a decompressor is."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


class Forward(io.RawIOBase):
    """A file object over a decompressor: seeks forward only, by reading and throwing away."""

    def __init__(self, source: Readable) -> None:
        super().__init__()
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it can be moved: forward."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go forward; ``ValueError`` for a way back."""
        if whence != io.SEEK_SET or offset < self._at:
            raise ValueError("an archive is read forward")
        while self._at < offset and self.read(min(offset - self._at, _AT_ONCE)):
            pass
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Return exactly ``size`` bytes unless the end comes first."""
        if not 0 <= size <= _AT_ONCE:
            raise ValueError(f"an archive wants {size} bytes in memory")
        found = bytearray()
        while len(found) < size:
            more = self._source.read(size - len(found))
            if not more:
                break
            found += more
        self._at += len(found)
        return bytes(found)
