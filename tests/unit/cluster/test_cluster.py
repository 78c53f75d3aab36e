"""Bringing up and tearing down, against an engine that only remembers."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from mlruntime.cluster.containers import cluster
from mlruntime.cluster.description import ClusterSpec, describe
from mlruntime.cluster.gpus import Gpus
from mlruntime.cluster.running import ClusterFailed
from mlruntime.cluster.signals import ended_as_by_ctrl_c, postponed
from mlruntime.engine import Owned, State
from mlruntime.errors import CommandFailed, StorageError

RUNNING = State(running=True, exit_code=0, oom_killed=False, error="")
DEAD = State(running=False, exit_code=1, oom_killed=False, error="")


class FakeExec:
    def __init__(self, lines: Sequence[str], code: int, hang: threading.Event | None) -> None:
        self.lines, self.code, self.hang = lines, code, hang

    def __iter__(self) -> Iterator[tuple[str, str]]:
        yield from (("stdout", line) for line in self.lines)
        if self.hang:
            self.hang.wait(30)

    def kill(self) -> None:
        pass

    def exit_code(self) -> int:
        return self.code


class FakeContainer:
    def __init__(self, engine: "FakeEngine", name: str) -> None:
        self.engine, self.name = engine, name

    def call(self, argv: Sequence[str], user: str) -> Any:
        self.engine.calls.append((*argv, user))
        return SimpleNamespace(exit_code=self.engine.chown, tail="denied")

    def exec(self, argv: Sequence[str], workdir: str | None = None) -> FakeExec:
        return FakeExec(["0", "2"], 0, self.engine.hang)

    def state(self) -> State:
        role = self.name.split("-", 2)[2]
        return self.engine.states.get(role, RUNNING)

    def logs(self, tail: int = 40) -> tuple[str, ...]:
        return self.engine.words


class FakeEngine:
    def __init__(self) -> None:
        self.things: list[Owned] = []
        self.calls: list[tuple[str, ...]] = []
        self.started: dict[str, dict[str, Any]] = {}
        self.states: dict[str, State] = {}
        self.chown = 0
        self.words: tuple[str, ...] = ("its last words",)
        self.hang: threading.Event | None = None
        self.refuse: dict[str, Exception] = {}

    def sweep(self) -> tuple[Owned, ...]:
        return (Owned(kind="container", id="x", name="mlr-old-master", labels={}),)

    def create_network(self, name: str, *, run: str) -> None:
        self.things.append(Owned(kind="network", id=name, name=name, labels={"run": run}))

    def create_volume(self, name: str, *, run: str) -> None:
        self.things.append(Owned(kind="volume", id=name, name=name, labels={"run": run}))

    def start(self, image: str, command: Sequence[str], **options: Any) -> FakeContainer:
        if error := self.refuse.get(options["role"]):
            raise error
        name = options["name"]
        self.started[options["role"]] = {"image": image, "command": list(command), **options}
        self.things.append(
            Owned(kind="container", id=name, name=name, labels={"run": options["run"]})
        )
        return FakeContainer(self, name)

    def image_config(self, reference: str) -> Any:
        return SimpleNamespace(user="ml")

    def owned(self, labels: Mapping[str, str]) -> tuple[Owned, ...]:
        (run,) = labels.values()
        return tuple(t for t in self.things if t.labels["run"] == run)

    def remove(self, things: Any) -> None:
        for thing in things:
            self.things.remove(thing)


def test_each_node_gets_its_role_and_image() -> None:
    engine, said = FakeEngine(), []
    spec = ClusterSpec(image="i", cores=3, node_images={"worker-2": "other"}, limit=7)
    with cluster(engine, spec, say=said.append) as running:
        master = f"mlr-{running.ident}-master"
        assert running.master_url == f"spark://{master}:7077"
        assert running.worker_hosts == tuple(f"mlr-{running.ident}-worker-{n}" for n in (1, 2))
        assert running.driver.name == f"mlr-{running.ident}-driver"
    assert {role: node["image"] for role, node in engine.started.items()} == {
        "master": "i", "worker-1": "i", "worker-2": "other", "driver": "i",
    }  # fmt: skip
    assert engine.started["master"]["hostname"] == engine.started["master"]["name"] == master
    assert engine.started["driver"]["memory"] == 7
    assert engine.calls == [("chown", "ml", "/shared", "0")]
    assert said[0] == "removed container mlr-old-master, left by a run that was killed"
    assert "2 of 2 workers registered" in said
    assert not engine.things


def test_a_cluster_is_described_without_an_engine() -> None:
    described = describe(ClusterSpec(image="i", cores=3, memory="5g", workers=1), "x")
    assert [(node.name, node.role, node.host) for node in described.nodes] == [
        ("master", "master", "mlr-x-master"),
        ("worker-1", "worker", "mlr-x-worker-1"),
        ("driver", "driver", "mlr-x-driver"),
    ]
    assert described.master_url == "spark://mlr-x-master:7077"
    assert described.ready.workers == 1
    assert described.ready.url.startswith("http://mlr-x-master:")
    (worker,) = described.of_role("worker")
    options = dict(zip(worker.command, worker.command[1:], strict=False))
    assert (options["--cores"], options["--memory"]) == ("3", "5g")
    assert worker.command[-1] == described.master_url
    assert worker.environment["SPARK_LOCAL_HOSTNAME"] == worker.host
    assert described == describe(ClusterSpec(image="i", cores=3, memory="5g", workers=1), "x")


def test_a_node_that_ends_early_is_named_with_its_last_words() -> None:
    engine = FakeEngine()
    engine.states["worker-2"] = DEAD
    with pytest.raises(ClusterFailed) as caught, cluster(engine, ClusterSpec(image="i")):
        pytest.fail("it came up")
    assert caught.value.what == "worker-2 exited with 1 before the cluster was ready"
    assert caught.value.why == "its last words"
    assert not engine.things


def test_of_a_worker_without_its_gpus_the_cause_is_told_and_not_where_java_was() -> None:
    engine = FakeEngine()
    engine.states["worker-1"] = DEAD
    engine.words = (
        "ERROR Worker: Failed to setup worker resources: ",
        "SparkException: Error parsing JSON",
        *(f"\tat org.apache.spark.Some.frame({n}.scala)" for n in range(60)),
        "Caused by: JsonParseException: Unrecognized token 'No'",
        "\tat com.fasterxml.jackson.Frame",
        "\t... 25 more",
    )
    spec = ClusterSpec(image="i", gpus=Gpus(each=2, script="/the/script"))
    with pytest.raises(ClusterFailed) as caught, cluster(engine, spec):
        pytest.fail("it came up")
    assert caught.value.why == "\n       ".join((*engine.words[:2], engine.words[-3]))
    assert "run /the/script in a worker's container" in str(caught.value.hint)
    assert Gpus(each=2).hint("out of memory") is None


def test_readiness_has_a_time_limit() -> None:
    engine = FakeEngine()
    engine.hang = threading.Event()
    ticks = iter(range(0, 100000, 50))
    with pytest.raises(ClusterFailed, match="did not register within 120 s"):  # noqa: SIM117
        with cluster(engine, ClusterSpec(image="i"), clock=lambda: next(ticks)):
            pytest.fail("it came up")
    engine.hang.set()
    assert not engine.things


@pytest.mark.parametrize(
    ("refusal", "seen"),
    [
        (CommandFailed("no such program", why="tini"), ClusterFailed),
        (StorageError("disk full"), StorageError),
    ],
)
def test_a_node_that_cannot_start(refusal: Exception, seen: type[Exception]) -> None:
    engine = FakeEngine()
    engine.refuse["worker-1"] = refusal
    with pytest.raises(seen), cluster(engine, ClusterSpec(image="i")):
        pytest.fail("it came up")
    assert not engine.things


def test_a_shared_directory_that_cannot_be_given_away() -> None:
    engine = FakeEngine()
    engine.chown = 1
    with pytest.raises(ClusterFailed, match="/shared cannot be given to user ml"):  # noqa: SIM117
        with cluster(engine, ClusterSpec(image="i")):
            pytest.fail("it came up")
    assert not engine.things


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_as_by_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_the_block_and_handlers_are_restored(number: signal.Signals) -> None:
    engine = FakeEngine()
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):  # noqa: SIM117
        with cluster(engine, ClusterSpec(image="i")):
            os.kill(os.getpid(), number)
            threading.Event().wait(30)
    assert not engine.things
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_a_thread_is_being_started_waits_until_it_has(
    number: signal.Signals,
) -> None:
    before = signal.getsignal(number)
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):  # noqa: SIM117
        with postponed():
            os.kill(os.getpid(), number)
            steps.append("after the signal")
    assert steps == ["after the signal"]
    assert signal.getsignal(number) is before
