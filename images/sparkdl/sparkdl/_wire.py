"""Frames on a socket: the one way in which all parts of a run speak to each other.

A frame is one byte of kind, eight bytes of length, and a body. Between machines each end first
proves that it knows the run's secret, without sending it, and every frame then carries an
HMAC-SHA256 over its number, kind and body: nobody else can join, replay, or change anything.
Frames are not encrypted.
"""

import contextlib
import hashlib
import hmac
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

MAGIC = b"SDL1"
HANDSHAKE_SECONDS = 5.0
MAX_BODY = 1 << 40
_HEADER = struct.Struct(">cQ")
_NONCE = _MAC = 32
_SHORT = 65536


class Closed(ConnectionError):  # noqa: N818
    """The other end is gone."""


class Refused(ConnectionError):  # noqa: N818
    """The other end does not know the secret, or a frame was changed on its way."""


class Kind:
    """What a frame may be."""

    # From a task to the driver.
    HELLO = b"H"  # JSON: which task this is and what it has
    OUTPUT = b"O"  # bytes that the rank wrote to its stdout or stderr
    TIMELINE = b"T"  # bytes of Horovod's timeline
    OVER = b"Z"  # JSON: how the rank's process ended; nothing follows
    # From a rank, passed on to the driver.
    MESSAGE = b"M"  # UTF-8 text for the user
    METRICS = b"N"  # JSON: what a LogCallback reports
    SAVE = b"S"  # a checkpoint; answered with SAVED
    LOAD = b"L"  # answered with a CHECKPOINT
    STANDING = b"P"  # JSON: where main is, and for how long it has not moved
    WEIGHTS = b"C"  # JSON: hashes of a model's weights, to be compared
    FAILED = b"F"  # JSON: main raised; answered with HEARD
    # From a rank to its task, and on to the driver where Spark would not take it.
    RESULT = b"R"
    # From the driver to a task, and on to its rank.
    GO = b"G"  # JSON: the rank's place
    STOP = b"X"
    SAVED = b"s"
    CHECKPOINT = b"l"
    HEARD = b"f"
    # Between both: a sign of life; from a task, its rank's process state.
    BEAT = b"B"
    # From a task to its rank.
    WORK = b"W"


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One message: what it is, and its content."""

    kind: bytes
    body: bytes = b""


class Channel:
    """A connected socket that carries frames. Sending is safe from several threads.

    ``heard`` is the monotonic time at which the last bytes arrived.
    """

    def __init__(
        self, connection: socket.socket, *, sends: bytes = b"", receives: bytes = b""
    ) -> None:
        self._socket = connection
        self._sends, self._receives = sends, receives
        self._sent = self._received = 0
        self._lock = threading.Lock()
        self.heard = time.monotonic()

    def send(self, kind: bytes, body: bytes = b"") -> None:
        """Send one frame; raise ``Closed`` when the other end is gone."""
        with self._lock:
            self._send(kind, body)

    def send_or_shut(self, kind: bytes) -> None:
        """Send a frame if that is possible at once; end the connection if it is not.

        It is not when the other end takes nothing any more, perhaps in the middle of a frame.
        """
        if not self._lock.acquire(blocking=False):
            self.shut()
            return
        try:
            if select.select([], [self._socket], [], 0)[1]:
                self._send(kind, b"")
            else:
                self.shut()
        except (OSError, ValueError):
            self.shut()
        finally:
            self._lock.release()

    def beat(self, body: bytes = b"") -> None:
        """Send a sign of life, unless something longer is being sent just now."""
        if self._lock.acquire(blocking=False):
            try:
                self._send(Kind.BEAT, body)
            finally:
                self._lock.release()

    def _send(self, kind: bytes, body: bytes) -> None:
        header = _HEADER.pack(kind, len(body))
        mac = self._mac(self._sends, self._sent, header, body)
        try:
            if len(body) < _SHORT:
                self._socket.sendall(header + body + mac)
            else:
                for part in (header, body, mac):
                    self._socket.sendall(part)
        except OSError as error:
            raise Closed(str(error)) from None
        self._sent += 1

    def receive(self) -> Frame:
        """Wait for one frame. Only one thread may."""
        header = self._read(_HEADER.size)
        kind, size = _HEADER.unpack(header)
        if size > MAX_BODY:
            raise Refused("a frame of impossible length")
        body = self._read(size)
        if self._receives:
            mac = self._read(_MAC)
            wanted = self._mac(self._receives, self._received, header, body)
            if not hmac.compare_digest(mac, wanted):
                raise Refused("a frame that does not belong to this run")
            self._received += 1
        return Frame(kind=kind, body=body)

    def _read(self, count: int) -> bytes:
        return read_exactly(self._socket, count, self._note)

    def _note(self) -> None:
        self.heard = time.monotonic()

    @staticmethod
    def _mac(key: bytes, number: int, header: bytes, body: bytes) -> bytes:
        if not key:
            return b""
        mac = hmac.new(key, struct.pack(">Q", number) + header, hashlib.sha256)
        mac.update(body)
        return mac.digest()

    def shut(self) -> None:
        """End the connection for both ends; a thread that receives gets ``Closed``."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def read_exactly(
    connection: socket.socket, count: int, note: Callable[[], None] = lambda: None
) -> bytes:
    """Return ``count`` bytes, or raise ``Closed``; call ``note`` whenever some arrive."""
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        try:
            got = connection.recv_into(view)
        except OSError as error:
            raise Closed(str(error)) from None
        if not got:
            raise Closed("the other end closed the connection")
        note()
        view = view[got:]
    return bytes(buffer)


def call(address: tuple[str, int], secret: bytes) -> Channel:
    """Connect to a driver and prove to each other that both know ``secret``."""
    connection = socket.create_connection(address, timeout=HANDSHAKE_SECONDS)
    try:
        mine = os.urandom(_NONCE)
        connection.sendall(MAGIC + mine)
        theirs = read_exactly(connection, _NONCE)
        _expect(connection, _proof(secret, b"driver", mine, theirs))
        connection.sendall(_proof(secret, b"rank", mine, theirs))
        return _open(connection, secret, mine, theirs, sends=b"up", receives=b"down")
    except BaseException:
        connection.close()
        raise


def answer(connection: socket.socket, secret: bytes) -> Channel:
    """Do the driver's half of ``call``; the caller closes the connection on ``Refused``."""
    connection.settimeout(HANDSHAKE_SECONDS)
    if read_exactly(connection, len(MAGIC)) != MAGIC:
        raise Refused("not a rank")
    theirs = read_exactly(connection, _NONCE)
    mine = os.urandom(_NONCE)
    connection.sendall(mine + _proof(secret, b"driver", theirs, mine))
    _expect(connection, _proof(secret, b"rank", theirs, mine))
    return _open(connection, secret, theirs, mine, sends=b"down", receives=b"up")


def _expect(connection: socket.socket, wanted: bytes) -> None:
    if not hmac.compare_digest(read_exactly(connection, _MAC), wanted):
        raise Refused("the other end does not know this run's secret")


def _proof(secret: bytes, who: bytes, rank: bytes, driver: bytes) -> bytes:
    return hmac.digest(secret, who + rank + driver, "sha256")


def _open(
    connection: socket.socket,
    secret: bytes,
    rank: bytes,
    driver: bytes,
    *,
    sends: bytes,
    receives: bytes,
) -> Channel:
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Channel(
        connection,
        sends=_proof(secret, sends, rank, driver),
        receives=_proof(secret, receives, rank, driver),
    )
