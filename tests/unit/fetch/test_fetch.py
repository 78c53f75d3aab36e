"""Downloads against a registry that misbehaves in every way a registry can."""

import errno
import gzip
import hashlib
import os
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.ecosystems.fetching import host_fetcher
from mlruntime.errors import ArtifactNotFound, HashMismatch, StorageError, Unavailable
from mlruntime.fetch.downloads import Fetcher
from mlruntime.fetch.indexes import project_files
from mlruntime.fetch.web import Web
from mlruntime.host.settings import AptSource, Sources
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store

from tests.properties import inputs
from tests.unit.servers import Server, serving

BODY = bytes(range(256)) * 4096  # 1 MiB
POOL = "pool/main/t/thing/thing_1_amd64.deb"


@dataclass
class Registry:
    """What the server answers, and what it was asked."""

    url: str = ""
    script: list[str] = field(default_factory=list)
    body: bytes = BODY
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    pages: dict[str, tuple[str, str]] = field(default_factory=dict)

    def ranges(self) -> list[str | None]:
        return [wanted for path, wanted in self.requests if path.endswith(".deb")]


def _answer(handler: BaseHTTPRequestHandler, registry: Registry) -> None:
    wanted = handler.headers.get("Range")
    registry.requests.append((handler.path, wanted))
    if handler.path in registry.pages:
        kind, text = registry.pages[handler.path]
        _send(handler, 200, text.encode(), kind)
        return
    what = registry.script.pop(0) if registry.script else "whole"
    if what.isdigit():
        _send(handler, int(what), b"no")
        return
    start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
    if what == "ignore-range":
        start = 0
    if start >= len(registry.body):
        _send(handler, 416, b"")
        return
    content = registry.body[start:]
    handler.send_response(206 if start else 200)
    if start:
        shown = start + 7 if what == "wrong-range" else start
        end = len(registry.body)
        handler.send_header("Content-Range", f"bytes {shown}-{end - 1}/{end}")
    if what != "no-length":
        handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    cut = what in ("cut", "no-length")
    handler.wfile.write(content[: len(content) // 2] if cut else content)
    handler.close_connection = True


def _send(handler: BaseHTTPRequestHandler, status: int, content: bytes, kind: str = "") -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(content)))
    if kind:
        handler.send_header("Content-Type", kind)
    handler.end_headers()
    handler.wfile.write(content)


@pytest.fixture
def registry() -> Iterator[Registry]:
    state = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, state)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def deb(body: bytes = BODY, name: str = "thing_1_amd64.deb") -> Artifact:
    return Artifact(
        kind="deb",
        name="thing",
        version="1",
        filename=name,
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        origin=f"debian:bookworm:{POOL}",
    )


def sources(*urls: str, index: str = "http://127.0.0.1:9/") -> Sources:
    archives = (AptSource(uri=url, part="", signed_by=None) for url in urls)
    return Sources(indexes=(index,), maven="file:///nowhere", debian=tuple(archives))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def fetcher(store: Store, registry: Registry) -> Fetcher:
    return host_fetcher(store, sources(registry.url), sleep=lambda _: None)


def test_a_file_lands_in_the_store_and_is_not_asked_for_again(
    fetcher: Fetcher, store: Store, registry: Registry
) -> None:
    path = fetcher.fetch(deb())
    assert path.read_bytes() == BODY
    assert path == store.blob(deb().sha256)
    assert fetcher.fetch(deb()) == path
    assert registry.ranges() == [None]


@pytest.mark.parametrize(
    ("script", "ranges"),
    [
        (["500", "whole"], [None, None]),
        (["503", "429", "whole"], [None, None, None]),
        (["cut", "whole"], [None, f"bytes={len(BODY) // 2}-"]),
        (["no-length", "whole"], [None, f"bytes={len(BODY) // 2}-"]),
        (["cut", "ignore-range"], [None, f"bytes={len(BODY) // 2}-"]),
        (["cut", "wrong-range", "whole"], [None, f"bytes={len(BODY) // 2}-", None]),
        (["cut", "500", "whole"], [None, *[f"bytes={len(BODY) // 2}-"] * 2]),
        (["cut", "416", "whole"], [None, f"bytes={len(BODY) // 2}-", None]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) and value[0] else "",
)
def test_a_stumbling_registry_is_tried_again(
    fetcher: Fetcher, registry: Registry, script: list[str], ranges: list[str | None]
) -> None:
    registry.script = script
    assert fetcher.fetch(deb()).read_bytes() == BODY
    assert registry.ranges() == ranges


def test_pauses_grow_and_tries_end(store: Store, registry: Registry) -> None:
    registry.script = ["500"] * 9
    slept: list[float] = []
    with pytest.raises(Unavailable) as caught:
        host_fetcher(store, sources(registry.url), pauses=(1, 5), sleep=slept.append).fetch(deb())
    assert slept == [1, 5]
    assert caught.value.exit_code == 6
    assert caught.value.why == "HTTP status 500 (3 tries)"


def test_nobody_listening_is_unavailable(store: Store) -> None:
    with pytest.raises(Unavailable, match="could not be read"):
        host_fetcher(store, sources("http://127.0.0.1:9"), sleep=lambda _: None).fetch(deb())


def test_a_killed_download_goes_on_where_it_was(
    fetcher: Fetcher, store: Store, registry: Registry
) -> None:
    store.partial(deb().sha256).write_bytes(BODY[:1000])
    assert fetcher.fetch(deb()).read_bytes() == BODY
    assert registry.ranges() == ["bytes=1000-"]


def test_a_complete_partial_file_needs_no_registry(
    fetcher: Fetcher, store: Store, registry: Registry
) -> None:
    store.partial(deb().sha256).write_bytes(BODY)
    assert fetcher.fetch(deb()).read_bytes() == BODY
    assert registry.requests == []


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * len(BODY), b"x" * (len(BODY) + 1)])
def test_rotten_leftovers_are_thrown_away(
    fetcher: Fetcher, store: Store, registry: Registry, left: bytes
) -> None:
    store.partial(deb().sha256).write_bytes(left)
    assert fetcher.fetch(deb()).read_bytes() == BODY


@pytest.mark.parametrize(
    "body",
    [BODY[:-1] + b"!", BODY + b"more", BODY[:100], b""],
    ids=["other", "longer", "shorter", "empty"],
)
def test_wrong_bytes_are_refused_and_not_kept(
    fetcher: Fetcher, store: Store, registry: Registry, body: bytes
) -> None:
    registry.body = body or b"\0"
    with pytest.raises(HashMismatch) as caught:
        fetcher.fetch(deb())
    assert caught.value.exit_code == 5
    assert "thing_1_amd64.deb is not the file that was locked" in str(caught.value)
    assert registry.url in str(caught.value)
    assert store.blob(deb().sha256) is None
    assert not store.partial(deb().sha256).exists()


def test_a_deb_gone_from_the_pool_asks_for_a_new_lock(fetcher: Fetcher, registry: Registry) -> None:
    registry.script = ["404"]
    with pytest.raises(ArtifactNotFound) as caught:
        fetcher.fetch(deb())
    assert caught.value.exit_code == 6
    assert "lock again with `mlruntime lock`" in str(caught.value)
    assert "MLRUNTIME_DEBIAN_SNAPSHOT" in str(caught.value)
    assert "mlruntime store export" in str(caught.value)
    assert registry.ranges() == [None]


def test_another_archive_of_the_host_may_have_it(store: Store, registry: Registry) -> None:
    registry.script = ["404", "whole"]
    both = sources(f"{registry.url}/a", f"{registry.url}/b")
    assert host_fetcher(store, both).fetch(deb()).read_bytes() == BODY
    assert [path for path, _ in registry.requests] == [f"/a/{POOL}", f"/b/{POOL}"]


def test_a_refusal_is_not_tried_again(fetcher: Fetcher, registry: Registry) -> None:
    registry.script = ["403"]
    with pytest.raises(Unavailable, match="was refused"):
        fetcher.fetch(deb())
    assert len(registry.requests) == 1


def test_credentials_never_reach_a_message(store: Store, registry: Registry) -> None:
    registry.script = ["403"]
    secret = registry.url.replace("://", "://user:hunter2@")
    with pytest.raises(Unavailable) as caught:
        host_fetcher(store, sources(secret)).fetch(deb())
    assert "hunter2" not in str(caught.value)


def test_no_archive_configured_says_what_to_set(store: Store) -> None:
    with pytest.raises(Unavailable, match="no Debian archive") as caught:
        host_fetcher(store, sources()).fetch(deb())
    assert "MLRUNTIME_DEBIAN_SOURCES" in str(caught.value.hint)


class Recorder:
    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.have: dict[str, int] = {}
        self.done: list[str] = []
        self.guard = threading.Lock()

    def started(self, name: str, size: int) -> None:
        self.sizes[name] = size
        self.have[name] = 0

    def advanced(self, name: str, count: int) -> None:
        with self.guard:
            self.have[name] += count

    def finished(self, name: str) -> None:
        self.done.append(name)


@pytest.mark.parametrize(
    "script",
    [["whole"], ["cut", "whole"], ["cut", "ignore-range"], ["cut", "wrong-range", "whole"]],
)
def test_progress_adds_up_to_the_size(
    fetcher: Fetcher, store: Store, registry: Registry, script: list[str]
) -> None:
    registry.script = script
    store.partial(deb().sha256).write_bytes(BODY[:10])
    recorder = Recorder()
    fetcher.fetch_all([deb()], recorder)
    assert recorder.have == recorder.sizes == {"thing_1_amd64.deb": len(BODY)}
    assert recorder.done == ["thing_1_amd64.deb"]


def test_a_failure_stops_the_others_and_keeps_what_they_had(
    store: Store, registry: Registry
) -> None:
    wrong = [deb(b"no such bytes %d" % n, f"wrong-{n}.deb") for n in range(8)]
    with pytest.raises(HashMismatch):
        host_fetcher(store, sources(registry.url), sleep=lambda _: None).fetch_all([*wrong, deb()])
    for thread in [t for t in threading.enumerate() if t.name.startswith("fetch")]:
        thread.join(20)  # its job has ended, or was told to and is given a second
        assert not thread.is_alive()


def test_many_at_once(store: Store, registry: Registry) -> None:
    index = {f"/simple/p{n}/": n for n in range(20)}
    files = [b"%d" % n * 1000 for n in index.values()]
    wheels = [
        Artifact(
            kind="wheel",
            name=f"p{n}",
            version="1",
            filename=f"p{n}-1-py3-none-any.whl",
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            origin="pypi",
        )
        for n, content in enumerate(files)
    ]
    for n, content in enumerate(files):
        sha256 = hashlib.sha256(content).hexdigest()
        link = f'<a href="../../files/p{n}-1-py3-none-any.whl#sha256={sha256}">x</a>'
        registry.pages[f"/simple/p{n}/"] = (
            "text/html",
            link.replace(">x<", f">p{n}-1-py3-none-any.whl<"),
        )
        registry.pages[f"/files/p{n}-1-py3-none-any.whl"] = ("", content.decode())
    found = host_fetcher(store, sources(index=f"{registry.url}/simple/")).fetch_all(wheels)
    assert [found[w.sha256].read_bytes() for w in wheels] == files


def listed(registry: Registry, content: bytes, sha256: str | None, at: str) -> str:
    """Have one more index, with a wheel by the name of ``package``'s; return its address."""
    mark = f"#sha256={sha256}" if sha256 else ""
    link = f'<a href="../../files/p-1-py3-none-any.whl{mark}">p-1-py3-none-any.whl</a>'
    registry.pages[f"/{at}/simple/p/"] = ("text/html", link)
    registry.pages[f"/{at}/files/p-1-py3-none-any.whl"] = ("", content.decode())
    return f"{registry.url}/{at}/simple/"


@pytest.mark.parametrize("told", [True, False], ids=["with hashes", "without"])
def test_the_next_index_that_has_the_locked_bytes_is_used(
    store: Store, registry: Registry, told: bool
) -> None:
    right, other = b"right " * 10, b"other " * 10
    package = replace(deb(right, "p-1-py3-none-any.whl"), kind="wheel", name="p", origin="pypi")
    hashes = [hashlib.sha256(content).hexdigest() if told else None for content in (other, right)]
    first = listed(registry, other, hashes[0], "first")
    second = listed(registry, right, hashes[1], "second")
    both = Sources(indexes=(first, second), maven="", debian=())
    assert host_fetcher(store, both).fetch(package).read_bytes() == right
    taken = [path for path, _ in registry.requests if path.endswith(".whl")]
    assert ("/first/files/p-1-py3-none-any.whl" in taken) != told
    alone = replace(both, indexes=(first,))
    with pytest.raises(HashMismatch, match="is not the file that was locked"):
        host_fetcher(Store(store.root / "again"), alone).fetch(package)


def test_a_json_index_is_understood_and_a_missing_project_is_empty(registry: Registry) -> None:
    registry.script = ["404"]
    registry.pages["/simple/p/"] = (
        "application/vnd.pypi.simple.v1+json",
        '{"meta": {"api-version": "1.0"}, "name": "p", "files":'
        ' [{"filename": "p-1.tar.gz", "url": "../../f/p-1.tar.gz", "hashes": {}}]}',
    )
    asked = sources(index=f"{registry.url}/simple/")
    with Web(asked) as web:
        (file,) = project_files(asked, web, "p")["p-1.tar.gz"]
        assert file.url == f"{registry.url}/f/p-1.tar.gz"
        assert project_files(asked, web, "q") == {}


def test_a_page_that_is_no_index_is_unavailable(registry: Registry) -> None:
    registry.pages["/simple/p/"] = ("application/vnd.pypi.simple.v1+json", "<html>login</html>")
    asked = sources(index=f"{registry.url}/simple/")
    with Web(asked) as web, pytest.raises(Unavailable, match="is not a package index"):
        project_files(asked, web, "p")


def test_a_file_address_is_copied(store: Store, tmp_path: Path) -> None:
    pool = tmp_path / "mirror" / POOL
    pool.parent.mkdir(parents=True)
    pool.write_bytes(BODY)
    fetcher = host_fetcher(store, sources((tmp_path / "mirror").as_uri()))
    assert fetcher.fetch(deb()).read_bytes() == BODY
    assert pool.exists()
    pool.unlink()
    with pytest.raises(ArtifactNotFound):
        fetcher.fetch(deb(b"other"))


def test_an_index_on_this_disk_is_read(store: Store, tmp_path: Path) -> None:
    """One folder for each project, with a page in it, as static web servers have it."""
    index = tmp_path / "simple"
    (index / "files").mkdir(parents=True)
    (index / "thing").mkdir()
    name, sha256 = "thing-1-py3-none-any.whl", hashlib.sha256(BODY).hexdigest()
    (index / "files" / name).write_bytes(BODY)
    link = f'<a href="../files/{name}#sha256={sha256}">{name}</a>'
    (index / "thing/index.html").write_text(f"<html><body>{link}</body></html>")
    asked = sources(index=f"{index.as_uri()}/")
    with Web(asked) as web:
        assert list(project_files(asked, web, "thing")) == [name]
        assert project_files(asked, web, "other") == {}
    wheel = replace(deb(), kind="wheel", name="thing", version="1", filename=name, origin="pypi")
    assert host_fetcher(store, asked).fetch(wheel).read_bytes() == BODY


@pytest.mark.parametrize(
    ("name", "found"), [("bytes", "\ufffd<\ufffd"), ("gone", None), ("bytes/below", None)]
)
def test_a_file_address_may_hold_any_bytes_or_none(
    tmp_path: Path, name: str, found: str | None
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff<\x80")
    with Web(sources()) as web:
        answer = web.text(f"{tmp_path.as_uri()}/{name}")
        assert (answer and answer[2]) == found


@pytest.mark.parametrize("name", ["%00", "loop", "x" * 300])
def test_a_file_address_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with Web(sources()) as web:
        for ask in (
            lambda url: web.text(url),
            lambda url: web.download(url, tmp_path / "to", grown=lambda _: None, size=None),
        ):
            with pytest.raises(Unavailable, match="could not be read"):
                ask(f"{tmp_path.as_uri()}/{name}")


@dataclass
class Packing(Server):
    """Sends as many zeros as it is asked for, packed."""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        _, coding, size = handler.path.split("/")
        packed = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[coding]
        headers = {} if coding == "identity" else {"Content-Encoding": coding}
        self._send(handler, 200, packed(bytes(int(size))), headers)


@pytest.fixture(scope="module")
def packing() -> Iterator[Server]:
    with serving(Packing()) as server:
        yield server


LARGEST = 1 << 20


@inputs(0.2)
@given(
    coding=st.sampled_from(["gzip", "deflate", "identity"]),
    size=st.integers(0, 3 * LARGEST) | st.integers(LARGEST - 1, LARGEST + 1),
    once=st.booleans(),
)
def test_no_answer_is_larger_in_memory_than_any_that_is_needed(
    packing: Server, coding: str, size: int, once: bool
) -> None:
    def ask() -> str:
        with Web(sources(), pauses=(), largest=LARGEST) as web:
            url = f"{packing.url}/{coding}/{size}"
            if once:
                return web.once("GET", url, headers={}).text
            answer = web.text(url)
            assert answer is not None
            return answer[2]

    if size > LARGEST:
        with pytest.raises(Unavailable, match=r"is larger than any document that is needed"):
            ask()
    else:
        assert ask() == "\0" * size


def test_a_full_disk_is_said(
    fetcher: Fetcher, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., object] = Path.open

    def full(path: Path, *args: object, **words: object) -> object:
        if path.parent.name == "partial":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, *args, **words)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match="no space left"):
        fetcher.fetch(deb())
