"""Proxies as companies have them, on this machine: HTTP with CONNECT, and SOCKS 5."""

import base64
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Relay:
    """What went through it: ``host:port``, in order."""

    kind: str
    password: str | None = None
    port: int = 0
    seen: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            (self._socks if self.kind == "socks" else self._http)(client)

    def _http(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = client.recv(65536)
            if not more:
                return
            head += more
        first, _, rest = head.partition(b"\r\n")
        method, target, _ = first.decode().split()
        if self.password is not None:
            token = base64.b64encode(self.password.encode()).decode()
            if f"Proxy-Authorization: Basic {token}".lower() not in head.decode().lower():
                client.sendall(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                    b'Proxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n'
                    b"Connection: close\r\n\r\n"
                )
                return
        split = urlsplit(target if method != "CONNECT" else f"//{target}")
        host, port = split.hostname or "", split.port or 80
        self.seen.append(f"{host}:{port}")
        with socket.create_connection((host, port), timeout=10) as server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = target.partition(split.netloc)[2] or "/"
                # One request for each connection: the next may be for another server.
                kept = re.sub(rb"(?im)^(proxy-)?connection:[^\n]*\n", b"", rest)
                closing = kept.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
                server.sendall(f"{method} {path} HTTP/1.1\r\n".encode() + closing)
            _pump(client, server)

    def _socks(self, client: socket.socket) -> None:
        count = client.recv(2)[1]
        client.recv(count)
        client.sendall(b"\x05\x00")
        kind = client.recv(4)[3]
        if kind == 1:
            host = socket.inet_ntoa(client.recv(4))
        else:
            host = client.recv(client.recv(1)[0]).decode()
        port = int.from_bytes(client.recv(2), "big")
        self.seen.append(f"{host}:{port}")
        with socket.create_connection((host, port), timeout=10) as server:
            client.sendall(b"\x05\x00\x00\x01" + b"\x00" * 6)
            _pump(client, server)


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=carry, args=(other, one))
    back.start()
    carry(one, other)
    back.join()


@contextmanager
def relaying(relay: Relay) -> Iterator[Relay]:
    """Relay on 127.0.0.1 until the block ends."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            relay.serve(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        relay.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield relay
        finally:
            server.shutdown()
            thread.join()
