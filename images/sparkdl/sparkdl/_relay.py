"""A way to the driver for Horovod's rendezvous client, which speaks IPv4 and nothing else.

Where the driver has IPv6 addresses only, each task listens on its own host's 127.0.0.1 and passes
on what its rank says. Nobody gets further with it than at the driver's own port: both ask for the
run's token.
"""

import contextlib
import socket
import threading
import time

from sparkdl import _network

_PIECE = 1 << 16
_PAUSE = 0.1  # seconds


class Relay:
    """Passes connections to ``port`` of this host's 127.0.0.1 on to ``target``, until ``close``."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server = _network.listen("127.0.0.1", 0)
        self.port = int(self._server.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._thread(self._accept)

    def close(self) -> None:
        """End it, and all connections through it."""
        with self._lock:
            self._closed = True
            connections = [self._server, *self._open]
        for connection in connections:
            with contextlib.suppress(OSError):  # wakes whoever waits for it
                connection.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _thread(self, target: object, *words: object) -> None:
        threading.Thread(target=target, args=words, name="sparkdl-relay", daemon=True).start()  # type: ignore[arg-type]

    def _accept(self) -> None:
        while not self._closed:
            try:
                near = self._server.accept()[0]
            except OSError:  # closed; or a connection that broke off at once, or too many files
                time.sleep(_PAUSE)
                continue
            self._thread(self._pass_on, near)

    def _pass_on(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError), socket.create_connection(self._target) as far:
            with self._lock:
                if self._closed:
                    return
                self._open |= {near, far}
            try:
                answers = threading.Thread(target=_copy, args=(far, near), daemon=True)
                answers.start()
                _copy(near, far)
                answers.join()
            finally:
                with self._lock:
                    self._open -= {near, far}


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until ``source`` ends or either fails; then the other end hears of that end."""
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
