"""Registries to push to: Debian's, really started, and one that can be told to misbehave."""

import base64
import hashlib
import json
import re
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}{more}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_READY_SECONDS = 20


@contextmanager
def debian_registry(work: Path, more: str = "", program: str = "docker-registry") -> Iterator[str]:
    """Run docker-registry for a ``with`` block; yield ``127.0.0.1:PORT``.

    ``more`` are other settings of its storage: it is read-only, say. ``program`` may be another
    release of it, which is the distribution project's.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder, config = work / "registry", work / f"registry-{port}.yml"
    folder.mkdir(parents=True, exist_ok=True)
    config.write_text(_CONFIG.format(folder=folder, port=port, more=more), encoding="utf-8")
    log = (work / "registry.log").open("wb")
    server = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
        log.close()


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass
class Registry:
    """A registry of the distribution specification 1.1, in memory.

    ``trouble`` is what it does wrong, each once: (method, a part of the path, what), where *what*
    is an HTTP status, ``(status, headers)``, ``cut`` (the connection ends after half of what was
    to be read or written), ``mute`` (it ends before the answer), ``lie`` (a changed digest or
    changed bytes), ``portal`` (a page in HTML) or ``endless``.
    """

    address: str = ""
    referrers: bool = True
    login: tuple[str, str] | None = None
    tokens: bool = False
    keeps_uploads: bool = True
    deletes: bool = True
    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    manifests: dict[str, dict[str, tuple[str, bytes]]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    trouble: list[tuple[str, str, object]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    received: int = 0
    streamed: int = 0
    authorizations: set[str] = field(default_factory=set)
    given: list[str] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def due(self, method: str, path: str) -> object | None:
        """Return the next trouble for a request, once."""
        with self.guard:
            for entry in self.trouble:
                if entry[0] == method and entry[1] in path:
                    self.trouble.remove(entry)
                    return entry[2]
        return None

    def count(self, method: str, part: str = "") -> int:
        return sum(m == method and part in path for m, path in self.requests)

    def repository(self, name: str) -> dict[str, bytes]:
        return self.blobs.setdefault(name, {})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    registry: Registry

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _endless(self) -> None:
        """Send until the other side has had enough; far more than any document has."""
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while self.registry.streamed < 256 << 20:
                self.wfile.write(bytes(1 << 20))
                self.registry.streamed += 1 << 20

    def _body(self, length: int | None = None) -> bytes:
        size = int(self.headers.get("Content-Length", 0)) if length is None else length
        read = self.rfile.read(size)
        self.registry.received += len(read)
        return read

    def _allowed(self) -> bool:
        registry, given = self.registry, self.headers.get("Authorization", "")
        if registry.login is None:
            return True
        basic = "Basic " + base64.b64encode(":".join(registry.login).encode()).decode()
        if not registry.tokens:
            if given == basic:
                return True
            self._body()
            self._answer(401, WWW_Authenticate='Basic realm="test"')
            return False
        if given.removeprefix("Bearer ") in registry.given and given.startswith("Bearer "):
            return True
        realm = f"http://{registry.address}/token"
        self._body()
        self._answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="test"')
        return False

    def _token(self) -> None:
        registry = self.registry
        assert registry.login is not None
        basic = "Basic " + base64.b64encode(":".join(registry.login).encode()).decode()
        if self.headers.get("Authorization") != basic:
            self._answer(401)
            return
        token = f"token-{len(registry.requests)}"
        registry.given.append(token)
        self._answer(200, json.dumps({"token": token}).encode())

    def _serve(self) -> None:
        registry, path = self.registry, self.path
        registry.requests.append((self.command, path))
        registry.authorizations.add(self.headers.get("Authorization", ""))
        if path.startswith("/token"):
            self._token()
            return
        what = registry.due(self.command, path)
        if isinstance(what, int | tuple):
            self._body()
            status, headers = what if isinstance(what, tuple) else (what, {})
            self._answer(status, b'{"errors":[{"code":"TEST","message":"told to"}]}', **headers)
            return
        if what == "portal":
            self._answer(200, b"<html>Please log in</html>", Content_Type="text/html")
            return
        if what == "endless":
            self._endless()
            return
        if not self._allowed():
            return
        found = re.fullmatch(
            r"/v2/(.+)/(blobs/uploads|blobs|manifests|tags|referrers)/([^?]*)(\?.*)?", path
        )
        if found is None:
            self._answer(200 if urlsplit(path).path == "/v2/" else 404)
            return
        name, kind, rest = found[1], found[2], found[3]
        query = {k: v[0] for k, v in parse_qs(urlsplit(path).query).items()}
        {
            "blobs/uploads": self._upload,
            "blobs": self._blob,
            "manifests": self._manifest,
            "tags": self._tags,
            "referrers": self._referrers,
        }[kind](name, rest, query, what)

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815

    def _upload(self, name: str, ident: str, query: dict[str, str], what: object) -> None:
        registry, blobs = self.registry, self.registry.repository(name)
        if self.command == "POST":
            self._body()
            source = registry.blobs.get(query.get("from", ""), {})
            if query.get("mount") in source:
                blobs[query["mount"]] = source[query["mount"]]
                self._answer(201, Docker_Content_Digest=query["mount"])
                return
            ident = uuid.uuid4().hex
            registry.uploads[ident] = b""
            self._answer(202, Location=f"/v2/{name}/blobs/uploads/{ident}?state=a")
            return
        if ident not in registry.uploads:
            self._body()
            self._answer(404)
            return
        have = registry.uploads[ident]
        here = f"/v2/{name}/blobs/uploads/{ident}?state=b"
        if self.command == "GET":
            self._answer(204, Location=here, Range=f"0-{max(len(have) - 1, 0)}")
        elif self.command == "PATCH":
            start = int(self.headers.get("Content-Range", "0-").partition("-")[0])
            if start != len(have):
                self._body()
                self._answer(416)
                return
            if what == "cut":
                part = self._body(int(self.headers["Content-Length"]) // 2)
                if registry.keeps_uploads:
                    registry.uploads[ident] = have + part
                else:
                    del registry.uploads[ident]
                self._cut()
                return
            registry.uploads[ident] = have + self._body()
            self._answer(202, Location=here, Range=f"0-{len(registry.uploads[ident]) - 1}")
        else:
            content = registry.uploads.pop(ident) + self._body()
            if sha256(content) != query["digest"]:
                self._answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
                return
            blobs[query["digest"]] = content
            if what == "mute":
                self._cut()
                return
            said = sha256(b"another") if what == "lie" else query["digest"]
            self._answer(201, Docker_Content_Digest=said)

    def _blob(self, name: str, digest: str, _query: object, what: object) -> None:
        content = self.registry.repository(name).get(digest)
        if content is None:
            self._answer(404)
            return
        if what == "lie":
            content = b"x" + content[1:]
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(start[1]) if start else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        if self.command == "HEAD":
            return
        if what == "cut":
            self.wfile.write(content[first : first + (len(content) - first) // 2])
            self._cut()
            return
        self.wfile.write(content[first:])

    def _manifest(self, name: str, reference: str, _query: object, what: object) -> None:
        manifests = self.registry.manifests.setdefault(name, {})
        if self.command == "PUT":
            content = self._body()
            digest = sha256(content)
            for key in {digest, reference}:
                manifests[key] = (self.headers["Content-Type"], content)
            self._answer(201, Docker_Content_Digest=sha256(b"x") if what == "lie" else digest)
            return
        if reference not in manifests:
            self._answer(404)
            return
        if self.command == "DELETE":
            if not self.registry.deletes:
                self._answer(405, b'{"errors":[{"code":"UNSUPPORTED"}]}')
                return
            del manifests[reference]
            self._answer(202)
            return
        kind, content = manifests[reference]
        if what == "lie":
            content += b" "
        self._answer(200, content, Content_Type=kind)

    def _tags(self, name: str, _rest: str, query: dict[str, str], _what: object) -> None:
        found = sorted(t for t in self.registry.manifests.get(name, {}) if ":" not in t)
        after = [tag for tag in found if tag > query.get("last", "")]
        page, headers = after[:3], {}  # a small page: there are several
        if len(after) > len(page):
            headers["Link"] = f'</v2/{name}/tags/list?n=3&last={page[-1]}>; rel="next"'
        self._answer(200, json.dumps({"name": name, "tags": page}).encode(), **headers)

    def _referrers(self, name: str, digest: str, _query: object, _what: object) -> None:
        if not self.registry.referrers:
            self._answer(404)
            return
        found = []
        for key, (kind, content) in self.registry.manifests.get(name, {}).items():
            value = json.loads(content)
            if ":" in key and (value.get("subject") or {}).get("digest") == digest:
                found.append({"mediaType": kind, "digest": key, "size": len(content),
                              "artifactType": value.get("artifactType")})  # fmt: skip
        index = {"schemaVersion": 2, "manifests": found}
        kind = "application/vnd.oci.image.index.v1+json"
        self._answer(200, json.dumps(index).encode(), Content_Type=kind)


@contextmanager
def running(registry: Registry, tls: ssl.SSLContext | None = None) -> Iterator[Registry]:
    """Serve on 127.0.0.1 until the block ends."""
    handler = type("Handler", (_Handler,), {"registry": registry})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    registry.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
