"""Registries as people have them, on this machine: HTTP or TLS, with a password or without."""

import base64
import hashlib
import io
import json
import ssl
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SNAPSHOT = "2026-11-20T00:00:00Z"
BEFORE, AFTER = "2026-11-01T00:00:00Z", "2026-11-25T00:00:00Z"
JSON = "application/vnd.pypi.simple.v1+json"


def wheel(name: str, version: str, *requires: str, extra: str | None = None) -> bytes:
    """Return a wheel with one module; equal arguments give equal bytes."""
    buffer, info = io.BytesIO(), f"{name}-{version}.dist-info"
    about = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    about += [f"Provides-Extra: {extra}"] if extra else []
    about += [f"Requires-Dist: {requirement}" for requirement in requires]
    tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in (
            (f"{name}.py", ""),
            (f"{info}/METADATA", "\n".join(about) + "\n"),
            (f"{info}/WHEEL", tags),
            (f"{info}/RECORD", ""),
        ):
            archive.writestr(zipfile.ZipInfo(path), text)
    return buffer.getvalue()


@dataclass
class Server:
    """What it serves by path, and what it was asked: (path, Authorization)."""

    url: str = ""
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    password: tuple[str, str] | None = None
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def put(self, path: str, content: bytes | str, kind: str = "application/octet-stream") -> None:
        self.files[path] = (kind, content.encode() if isinstance(content, str) else content)

    def project(
        self,
        name: str,
        *versions: str,
        at: str | None = BEFORE,
        yanked: str | None = None,
        requires: tuple[str, ...] = (),
        html: bool = False,
        root: str = "/simple",
        content: bytes | None = None,
    ) -> None:
        """List releases of a project; ``at`` is when they came, if the index says so."""
        listed, links = [], []
        for version in versions:
            data = wheel(name, version, *requires) if content is None else content
            filename = f"{name}-{version}-py3-none-any.whl"
            self.put(f"{root}/files/{filename}", data)
            sha256 = hashlib.sha256(data).hexdigest()
            links.append(f'<a href="../files/{filename}#sha256={sha256}">{filename}</a>')
            entry = {"filename": filename, "url": f"../files/{filename}", "size": len(data)}
            entry |= {"hashes": {"sha256": sha256}, "yanked": yanked or False}
            listed.append(entry | ({"upload-time": at} if at else {}))
        if html:
            self.put(f"{root}/{name}/", f"<html><body>{''.join(links)}</body></html>", "text/html")
            return
        page = {"meta": {"api-version": "1.1"}, "name": name, "versions": list(versions)}
        self.put(f"{root}/{name}/", json.dumps(page | {"files": listed}), JSON)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        given = handler.headers.get("Authorization")
        self.headers.append(dict(handler.headers))
        self.requests.append((handler.path, given))
        if self.statuses:
            status, headers = self.statuses.pop(0)
            self._send(handler, status, b"", headers)
            return
        if self.password is not None:
            token = base64.b64encode(":".join(self.password).encode()).decode()
            if given != f"Basic {token}":
                self._send(handler, 401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
                return
        if handler.path not in self.files:
            self._send(handler, 404, b"", {})
            return
        kind, content = self.files[handler.path]
        self._send(handler, 200, content, {"Content-Type": kind})

    def _send(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        if handler.close_connection:
            handler.send_header("Connection", "close")
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)


def debian(server: Server, packages: bytes, valid_until: str = "") -> None:
    """Serve a Debian release with these paragraphs below ``/debian``."""
    digest = hashlib.sha256(packages).hexdigest()
    server.put("/debian/dists/bookworm/main/binary-amd64/Packages", packages)
    server.put(
        "/debian/dists/bookworm/Release",
        "Suite: bookworm\nCodename: bookworm\nArchitectures: amd64\nComponents: main\n"
        f"Date: Sat, 01 Nov 2025 00:00:00 UTC\n{valid_until}"
        f"SHA256:\n {digest} {len(packages)} main/binary-amd64/Packages\n",
    )


@contextmanager
def serving(state: Server, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve on 127.0.0.1 until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            state.answer(self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    state.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
