"""Where Horovod's Gloo controller finds the other ranks: a key-value store over HTTP.

Horovod's C++ client can send no header of ours and no proof of the secret, but it takes any
text for the server's address and puts it in front of ``:port/scope/key``. So the address it is
given is ``host:port/token/x``: every path it asks for then begins with this run's token.
"""

import hmac
import socket
import threading

_MAX_HEAD, _MAX_BODY = 8 << 10, 16 << 20
_OK, _BAD, _MISSING = "200 OK", "400 Bad Request", "404 Not Found"


def address(host: str, port: int, token: str) -> str:
    """Return what HOROVOD_GLOO_RENDEZVOUS_ADDR has to be; the port after it is then ignored."""
    return f"{host}:{port}/{token}/x"


class KeyStore:
    """The values that ranks leave for each other.

    ``asked`` is whether any rank has come for one: ``hvd.init()`` does, and nothing else.
    """

    def __init__(self, token: str) -> None:
        self.asked = False
        self._token = token.encode()
        self._values: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def serve(self, connection: socket.socket) -> None:
        """Answer the one request that a connection carries."""
        head, rest = _read_head(connection)
        status, body = _BAD, b""
        try:
            method, path, length = _parse(head)
        except ValueError:
            pass
        else:
            if length <= _MAX_BODY and self._allowed(path):
                self.asked = True
                key = path.split("/", 2)[2]
                status, body = self._do(method, key, _read_body(connection, rest, length))
        connection.sendall(
            f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )

    def _allowed(self, path: str) -> bool:
        parts = path.split("/", 2)
        return len(parts) == 3 and hmac.compare_digest(parts[1].encode(), self._token)

    def _do(self, method: str, key: str, body: bytes) -> tuple[str, bytes]:
        with self._lock:
            if method == "PUT":
                self._values[key] = body
            elif method == "DELETE":
                self._values.pop(key, None)
            elif method == "GET":
                found = self._values.get(key)
                return (_MISSING, b"") if found is None else (_OK, found)
            else:
                return _BAD, b""
        return _OK, b""


def _read_head(connection: socket.socket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _MAX_HEAD:
        part = connection.recv(4096)
        if not part:
            break
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _parse(head: str) -> tuple[str, str, int]:
    first, *lines = head.split("\r\n")
    method, path, _version = first.split(" ")
    length = 0
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length":
            length = int(value)
    if length < 0:
        raise ValueError(length)
    return method, path, length


def _read_body(connection: socket.socket, start: bytes, length: int) -> bytes:
    body = start[:length]
    while len(body) < length:
        part = connection.recv(min(length - len(body), 1 << 16))
        if not part:
            break
        body += part
    return body
