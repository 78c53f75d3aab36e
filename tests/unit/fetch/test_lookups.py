"""Look-ups in registries run at once, each once, and errors reach everybody who asked."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlruntime.ecosystems.debian.upstream import DebianUpstream
from mlruntime.ecosystems.fetching import host_fetcher
from mlruntime.errors import Unavailable
from mlruntime.host.settings import Sources
from mlruntime.host.tasks import Once, TaskGroup
from mlruntime.matrix.parsing import parse_matrix
from mlruntime.store.store import Store

from tests.unit.host.machines import THE_WHEEL
from tests.unit.servers import Server, serving, wheel

SECONDS = 60
MATRIX = """\
components:
  debian: {title: Debian, summary: x, releases: ["12", "13"]}
  python:
    title: Python
    summary: x
    artifacts: [{origin: debian, name: "python{python.minor}"}]
    releases: ["3.11", "3.13"]
preference: [python, debian]
rules: []
"""


def test_pages_of_two_projects_are_asked_for_at_once(tmp_path: Path) -> None:
    """Neither page comes before both are asked for: one after the other would end the barrier."""
    both = threading.Barrier(2, timeout=SECONDS)

    class Slow(Server):
        def answer(self, handler: BaseHTTPRequestHandler) -> None:
            if handler.path.endswith("/"):
                both.wait()
            super().answer(handler)

    names = ("one", "two")
    with serving(Slow()) as server:
        artifacts = []
        for name in names:
            content = wheel(name, "1") + b"\0" * len(name)
            server.project(name, "1", content=content)
            artifacts.append(found(name, content))
        sources = Sources(indexes=(f"{server.url}/simple/",), maven="https://m.invalid", debian=())
        fetched = host_fetcher(Store(tmp_path), sources, pauses=()).fetch_all(artifacts)
    assert list(fetched) == [artifact.sha256 for artifact in artifacts]
    assert sorted(path for path in server.paths if path.endswith("/")) == [
        "/simple/one/", "/simple/two/",
    ]  # fmt: skip


def found(name: str, content: bytes) -> Any:
    return replace(
        THE_WHEEL, name=name, filename=f"{name}-1-py3-none-any.whl", size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )  # fmt: skip


def test_releases_of_debian_are_read_at_once_and_each_once(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=SECONDS)
    read: list[str] = []

    def archive(_: Sources, release: str, root: Path) -> Any:
        assert root.is_dir()
        read.append(release)
        both.wait()
        return SimpleNamespace(names={"12": {"python3.11"}, "13": {"python3.13"}}[release])

    matrix = parse_matrix(MATRIX, file="matrix.yaml")
    python = matrix.components["python"]
    upstream = DebianUpstream(Sources(indexes=(), maven="", debian=()), tmp_path, archive)
    for _ in range(2):
        releases = upstream.releases(matrix, python, python.artifacts[0])
        assert {str(release.version) for release in releases} == {"3.11", "3.13"}
    assert sorted(read) == ["12", "13"]


def at_once(count: int, job: Callable[[], Any]) -> list[Any]:
    with TaskGroup(count, lambda: None) as tasks:
        return [job.result() for job in [tasks.submit(job) for _ in range(count)]]


def test_whoever_asks_gets_the_one_value() -> None:
    once: Once[str, object] = Once()
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    assert set(map(id, at_once(8, lambda: once.of("a", make)))) == {id(made[0])}
    assert once.of("b", make) is not made[0]
    assert len(made) == 2


def test_whoever_asks_gets_the_one_error() -> None:
    once: Once[str, object] = Once()
    tried: list[int] = []

    def make() -> object:
        tried.append(1)
        raise Unavailable("the index does not answer")

    def told() -> bool:
        with pytest.raises(Unavailable, match="does not answer"):
            once.of("a", make)
        return True

    assert at_once(4, told) == [True] * 4
    assert len(tried) == 1
