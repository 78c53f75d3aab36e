"""The parts of the engine edge that need no engine."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest
from docker.errors import APIError, NotFound
from docker.utils.config import load_general_config
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.engine import Connecting, Owned, Running, chain_ids, connect, owner
from mlruntime.engine.docker.connection import first_of
from mlruntime.engine.docker.container import DockerContainer, DockerExec
from mlruntime.engine.docker.endpoint import Endpoint
from mlruntime.engine.docker.engine import DockerEngine
from mlruntime.engine.docker.sdk import translated
from mlruntime.engine.running import Archive
from mlruntime.engine.values import LineDecoder
from mlruntime.errors import CommandFailed, StorageError, Unavailable

from tests.unit.stub_engine import StubEngine, classic


@given(st.lists(st.text("ab\r\n", max_size=6), max_size=8), st.data())
def test_lines_do_not_depend_on_how_the_bytes_are_cut(
    parts: list[str], data: st.DataObject
) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=4)))
    lines = LineDecoder()
    got: list[str] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        got += lines.feed(text[start:end].encode())
    got += lines.end()
    whole = LineDecoder()
    assert got == [*whole.feed(text.encode()), *whole.end()]
    assert "".join(got) == text.replace("\r", "").replace("\n", "")


def test_a_multibyte_character_cut_in_two_survives() -> None:
    lines = LineDecoder()
    first = list(lines.feed("é\n".encode()[:1]))
    assert [*first, *lines.feed("é\n".encode()[1:])] == ["é"]


def test_chain_ids_follow_the_image_specification() -> None:
    a, b = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    chain = chain_ids((a, b))
    assert chain[0] == a
    assert chain[1] == "sha256:" + hashlib.sha256(f"{a} {b}".encode()).hexdigest()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("write /var/x: no space left on device", StorageError),
        ("Connection aborted.", Unavailable),
        ("invalid reference format", CommandFailed),
    ],
)
def test_engine_errors_become_ours(said: str, kind: type[Exception]) -> None:
    with pytest.raises(Unavailable) as caught, translated("loading"):
        raise APIError("wrapped", explanation=f'{{"message": "{said}"}}')
    assert type(caught.value) is kind
    assert caught.value.why == said


def test_no_engine_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    with pytest.raises(Unavailable) as caught:
        connect()
    assert "dev engine" in str(caught.value)
    assert caught.value.exit_code == 6


class FakeApi:
    """Records what is removed; holds containers of three owners."""

    def __init__(self, containers: list[dict[str, object]]) -> None:
        self.listed = containers
        self.removed: list[str] = []

    def containers(self, **_: object) -> list[dict[str, object]]:
        return self.listed

    def networks(self, **_: object) -> list[dict[str, object]]:
        return []

    def volumes(self, **_: object) -> dict[str, object]:
        return {"Volumes": None}

    def remove_container(self, name: str, **_: object) -> None:
        self.removed.append(name)
        if name == "gone":
            raise NotFound("no such container")


def _container(name: str, labels: dict[str, str]) -> dict[str, object]:
    return {"Id": name, "Names": [f"/{name}"], "Labels": labels, "State": "running"}


def test_sweep_removes_what_dead_owners_left_and_nothing_else() -> None:
    mine = owner.current().labels("r1")
    dead = {**mine, "mlruntime.started": "1"}  # our process id, used before by another process
    rebooted = {**mine, "mlruntime.boot": "another"}
    stranger = {**dead, "mlruntime.host": "another machine"}
    api = FakeApi(
        [
            _container("mine", mine),
            _container("dead", dead),
            _container("gone", dead),
            _container("rebooted", rebooted),
            _container("stranger", stranger),
            _container("unlabelled", {"mlruntime": "1"}),
        ]
    )
    left = DockerEngine(api, api).sweep()
    assert api.removed == ["dead", "gone", "rebooted"]
    assert [thing.name for thing in left] == ["dead", "gone", "rebooted"]


def test_containers_are_removed_before_networks() -> None:
    calls: list[str] = []

    class Api:
        def __getattr__(self, name: str) -> object:
            return lambda *args, **_: calls.append(name)

    things = [
        Owned(kind="volume", id="v", name="v", labels={}),
        Owned(kind="network", id="n", name="n", labels={}),
        Owned(kind="container", id="c", name="c", labels={}),
    ]
    DockerEngine(Api(), Api()).remove(things)
    assert calls == ["remove_container", "remove_network", "remove_volume"]


def test_a_zombie_is_not_alive(tmp_path: Path) -> None:
    stat = tmp_path / "7"
    stat.mkdir()
    fields = " ".join(["S", *["0"] * 18, "4711", "0"])
    (stat / "stat").write_text(f"7 (a (strange) name) {fields}\n")
    assert owner.start_time(tmp_path, 7) == 4711
    (stat / "stat").write_text(f"7 (x) {fields.replace('S', 'Z', 1)}\n")
    assert owner.start_time(tmp_path, 7) is None
    assert owner.start_time(tmp_path, 8) is None


def test_this_process_owns_itself() -> None:
    labels = owner.current().labels("r")
    assert labels["mlruntime.pid"] == str(os.getpid())
    assert not owner.abandoned(labels)


def test_an_absent_container_counts_as_killed() -> None:
    class Api:
        def inspect_container(self, name: str) -> object:
            raise NotFound("no such container")

    state = DockerContainer(Api(), name="x").state()
    assert not state.running
    assert str(state) == "exited with 137 (it was removed)"


def _exec(running: bool, code: int | None) -> dict[str, object]:
    return {"Running": running, "ExitCode": code}


@pytest.mark.parametrize(
    ("told", "lives", "code"),
    [
        ([_exec(False, 0)], True, 0),
        ([_exec(False, 3)], True, 3),
        # Its output has ended, and the engine does not know of its end yet; Podman says 0 then.
        ([_exec(True, None), _exec(True, 0), _exec(False, 4)], True, 4),
        ([_exec(False, None)], True, 137),
        ([_exec(True, None)], False, 137),  # for ever: it was killed with its container
        ([], False, 137),  # which has been removed
    ],
)
def test_how_a_process_in_a_container_ended(
    told: list[dict[str, object]], lives: bool, code: int
) -> None:
    class Api:
        def exec_inspect(self, ident: str) -> object:
            if not told:
                raise NotFound("no such exec instance")
            return told.pop(0) if len(told) > 1 else told[0]

        def inspect_container(self, name: str) -> object:
            return {"State": {"Running": lives, "ExitCode": 0, "OOMKilled": False}}

    container = DockerContainer(Api(), name="x")
    assert container.ended("e") == code
    assert DockerExec(Api(), container, "e", "token", "").exit_code() == code


def test_containers_get_no_proxies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's ``config.json`` has some for them, as on the machines of many companies."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    (tmp_path / ".docker").mkdir()
    proxies = {"default": {"httpProxy": "http://proxy:1", "httpsProxy": "http://proxy:1"}}
    (tmp_path / ".docker/config.json").write_text(json.dumps({"proxies": proxies}))
    made = {"POST /containers/create": {"Id": "1"}, "POST /containers/mlr-x/start": {}}
    with (
        StubEngine(tmp_path / "s.sock", classic() | made) as stub,
        first_of([Endpoint(host=f"unix://{tmp_path}/s.sock", source="test")]) as engine,
    ):
        assert load_general_config()["proxies"] == proxies  # what the SDK reads
        engine.start("image", ["sh"], name="mlr-x", environment={"A": "b", "no_proxy": "mine"})
    (body,) = (body for _, path, body in stub.requests if path == "/containers/create")
    found = dict(entry.split("=", 1) for entry in json.loads(body)["Env"])
    assert found.pop("A") == "b"
    assert found.pop("no_proxy") == "mine"
    assert found.pop("NO_PROXY") == "*"
    assert {"HTTP_PROXY", "https_proxy", "ALL_PROXY"} < found.keys()
    assert set(found.values()) == {""}


class Opened:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_threads_that_ask_at_once_get_one_connection_and_it_is_closed() -> None:
    opened: list[Opened] = []
    together = threading.Barrier(8)

    def slowly() -> Opened:
        made = Opened()
        time.sleep(0.05)
        opened.append(made)
        return made

    with Connecting(slowly) as engine:  # type: ignore[arg-type]

        def ask(_: int) -> object:
            together.wait()
            return engine()

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, range(8))) == set(opened)
    assert [one.closed for one in opened] == [1]


def test_what_was_never_asked_for_is_neither_opened_nor_closed() -> None:
    with Connecting(lambda: pytest.fail("it was opened")):
        pass


def test_abort_reaches_what_is_about_to_run_and_does_not_connect() -> None:
    asked: list[str] = []

    class Starting:
        def start(self, *_: object, contents: Sequence[Archive], **__: object) -> NoReturn:
            asked.append("start")
            pytest.fail(f"{[list(archive()) for archive in contents]} was unpacked")

    def engine() -> Starting:
        asked.append("engine")
        return Starting()

    running = Running(engine)  # type: ignore[arg-type]
    running.abort()
    assert asked == []
    with pytest.raises(CommandFailed, match="sh was interrupted"):
        running.run("image", ["sh"], contents=[lambda: iter([b"x"])])
    assert asked == ["engine", "start"]
