"""Real containers: a cluster comes up, goes away whatever happens, and its deaths are noticed.

The programs here are fakes, so any image with Spark, Python and tini will do.
"""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest
from mlruntime.cluster.containers import ContainerCluster, ContainerClusters, cluster
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.running import ClusterFailed
from mlruntime.engine import Engine, connect, owner
from mlruntime.lock.model import Lock, Variant
from mlruntime.validation.report import CheckResult, Report
from mlruntime.validation.session import IMAGE_CHECK, Subject, validate

from tests.conftest import Runtime

pytestmark = pytest.mark.cluster

PROGRAM = """
import json, os, subprocess, sys, time

names = sys.argv[3:]
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

def say(**event):
    out.write(json.dumps(event) + "\\n")
    out.flush()

for name in names:
    say(event="start", check=name)
    print("noise on stdout", flush=True)
    if name == "fake.hang":
        subprocess.Popen(["sleep", "1234"], start_new_session=True)
        subprocess.run(["sleep", "1234"])
    if name == "fake.crash":
        os.abort()
    detail = {"left": subprocess.run(["pgrep", "-cf", "^sleep 1234"],
                                     capture_output=True, text=True).stdout.strip()}
    if name == "fake.expect":
        expect = json.load(open(sys.argv[2]))
        probe = os.path.join(expect["shared"], "probe")
        open(probe, "w").close()
        detail = {"hosts": len(expect["worker_hosts"]), "uid": os.getuid(),
                  "master": expect["master"].split("-")[-1]}
    say(event="end", check=name, status="passed", seconds=0.1, detail=detail, error=None)
say(event="done")
"""


@dataclass(frozen=True)
class Check:
    name: str
    timeout: float = 60
    needs: tuple[str, ...] = ()
    gpus: int = 0
    flavour: str = "core"


@dataclass
class Observer:
    on_start: Callable[[str], None] = lambda name: None
    ended_: list[str] = field(default_factory=list)

    def started(self, name: str) -> None:
        self.on_start(name)

    def ended(self, result: CheckResult) -> None:
        self.ended_.append(result.name)

    def waiting(self, name: str | None, seconds: float) -> None:
        pass


@pytest.fixture(scope="module")
def image(runtime: Runtime) -> str:
    return runtime.image


@pytest.fixture
def engine() -> Iterator[Engine]:
    with connect() as engine:
        before = {thing.id for thing in engine.owned()}
        yield engine
        left = [thing for thing in engine.owned() if thing.id not in before and _ours(thing.labels)]
        engine.remove(left)
        assert not left


def _ours(labels: object) -> bool:
    return isinstance(labels, dict) and labels.get("mlruntime.pid") == str(os.getpid())


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(PROGRAM)
    return tmp_path


LOCK = Lock(
    runtime="6.0-ml",
    inputs=(),
    snapshot="2026-11-20T00:00:00Z",
    components=(),
    omitted=(),
    os=(),
    build_depends=(),
    python=(),
    jars=(),
    variants=(Variant(name="cpu", python=(), native=()),),
)


def _validate(
    engine: Engine, image: str, programs: Path, *checks: Check, observer: Observer | None = None
) -> Report:
    return validate(
        ContainerClusters(engine),
        Subject(image=image, lock=LOCK, variant="cpu"),
        checks,
        only=["fake"],
        observer=observer or Observer(),
        programs=programs,
    )


def _by_name(report: Report) -> dict[str, CheckResult]:
    return {check.name: check for check in report.checks}


def test_programs_run_are_killed_for_real_and_go_on(
    engine: Engine, image: str, programs: Path
) -> None:
    report = _validate(
        engine,
        image,
        programs,
        Check("fake.expect"),
        Check("fake.hang", timeout=2),
        Check("fake.after"),
        Check("fake.crash"),
        Check("fake.last"),
    )
    checks = _by_name(report)
    assert checks["fake.expect"].detail == {"hosts": 2, "uid": 1000, "master": "master:7077"}
    # A busy host stretches limits.
    limit = r"(2 s|[0-9.]+ s \(2 s, multiplied by [0-9.]+\))"
    assert re.fullmatch(f"did not end within its {limit} and was killed",
                        checks["fake.hang"].message)  # fmt: skip
    assert "noise on stdout" in str(checks["fake.hang"].error)
    # Both children of the hanging check are gone, also the one in a session of its own.
    assert checks["fake.after"].detail == {"left": "0"}
    assert checks["fake.crash"].message == "its process exited with 134 (aborted)"
    assert checks["fake.last"].status == "passed"
    assert report.exit_code == 7


@pytest.mark.parametrize("victim", ["worker-1", "driver"])
def test_a_container_that_dies_fails_the_running_check_and_the_rest(
    engine: Engine, image: str, programs: Path, victim: str
) -> None:
    def kill(name: str) -> None:
        if name == "fake.hang":
            # Ours, by our process id: other runs of the same tool may be under way.
            (thing,) = [
                t
                for t in engine.owned({owner.ROLE: victim})
                if t.kind == "container" and _ours(t.labels)
            ]
            engine.container(thing.name).kill()

    checks = _by_name(
        _validate(
            engine,
            image,
            programs,
            Check("fake.before"),
            Check("fake.hang"),
            Check("fake.after"),
            observer=Observer(on_start=kill),
        )
    )
    assert checks["fake.before"].status == "passed"
    assert checks["fake.hang"].message == f"{victim} exited with 137"
    assert checks["fake.after"].error == f"not started, because {victim} exited with 137"


def test_an_image_whose_daemons_do_not_start_is_told_with_their_last_words(
    engine: Engine, image: str
) -> None:
    spec = ClusterSpec(image=image, workers=1, environment={"JAVA_HOME": "/nowhere"})
    with pytest.raises(ClusterFailed) as caught, cluster(engine, spec):
        pytest.fail("it came up")
    assert "before the cluster was ready" in caught.value.what
    assert "/nowhere" in str(caught.value.why)


def test_a_cluster_that_does_not_come_up_fails_every_check(
    engine: Engine, image: str, programs: Path
) -> None:
    subject = Subject(image=image, lock=LOCK, variant="cpu", environment={"JAVA_HOME": "/nowhere"})
    report = validate(
        ContainerClusters(engine),
        subject,
        [Check("fake.a"), Check("fake.b")],
        observer=Observer(),
        programs=programs,
    )
    assert [check.status for check in report.checks] == ["failed"] * 3
    assert report.checks[0].name == IMAGE_CHECK
    assert report.checks[2].message.startswith("the cluster did not come up: ")


def test_an_exception_in_the_block_removes_the_cluster(engine: Engine, image: str) -> None:
    seen: list[ContainerCluster] = []
    with pytest.raises(ZeroDivisionError), cluster(engine, ClusterSpec(image=image)) as running:
        seen.append(running)
        kinds = sorted(t.kind for t in engine.owned({owner.RUN: running.ident}))
        assert kinds == ["container"] * 4 + ["network", "volume"]
        raise ZeroDivisionError
    assert not engine.owned({owner.RUN: seen[0].ident})


HOLDER = textwrap.dedent(
    """
    import sys, time
    from mlruntime.cluster.containers import cluster
    from mlruntime.cluster.description import ClusterSpec
    from mlruntime.engine import connect

    with connect() as engine:
        spec = ClusterSpec(image=sys.argv[1])
        with cluster(engine, spec, say=lambda line: print(line, flush=True)):
            print("up", flush=True)
            time.sleep(600)
    """
)


def _holder(image: str) -> subprocess.Popen[str]:
    """Start a process that brings up and holds a cluster."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, image],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _await(process: subprocess.Popen[str], until: str) -> None:
    """Return when it has printed ``until``."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(until):
            return
    pytest.fail(f"it ended early: {process.communicate()[1]}")


def _left_by(engine: Engine, pid: int) -> list[str]:
    return [thing.name for thing in engine.owned({"mlruntime.pid": str(pid)})]


@pytest.mark.parametrize(
    ("number", "until"),
    [
        (signal.SIGINT, "up"),
        (signal.SIGINT, "starting"),
        (signal.SIGTERM, "starting"),
        (signal.SIGHUP, "0 of"),
    ],
)
def test_a_signal_removes_the_cluster(
    engine: Engine, image: str, number: signal.Signals, until: str
) -> None:
    process = _holder(image)
    _await(process, until)
    process.send_signal(number)
    assert "KeyboardInterrupt" in process.communicate(timeout=120)[1]
    assert not _left_by(engine, process.pid)


def test_what_a_killed_process_left_the_next_one_removes(engine: Engine, image: str) -> None:
    killed, alive = _holder(image), _holder(image)
    try:
        _await(killed, "0 of")
        _await(alive, "0 of")
        killed.kill()
        killed.communicate(timeout=60)
        assert len(_left_by(engine, killed.pid)) == 6
        said: list[str] = []
        with cluster(engine, ClusterSpec(image=image, workers=1), say=said.append):
            assert not _left_by(engine, killed.pid)
            assert len(_left_by(engine, alive.pid)) == 6
        assert sum("left by a run that was killed" in line for line in said) == 6
    finally:
        alive.send_signal(signal.SIGINT)
        alive.communicate(timeout=120)
    assert not _left_by(engine, alive.pid)


def test_nodes_reach_each_other_and_nothing_else(engine: Engine, image: str) -> None:
    with cluster(engine, ClusterSpec(image=image)) as running:
        for host in running.worker_hosts:
            found = running.driver.call(["getent", "hosts", host])
            assert found.exit_code == 0
        touched = running.nodes["worker-1"].call(["touch", "/shared/x"])
        assert touched.exit_code == 0, touched.tail
        assert running.driver.call(["ls", "/shared"]).tail == "x"
        (network,) = [t for t in engine.owned({owner.RUN: running.ident}) if t.kind == "network"]
        with closing(docker.from_env()) as client:
            assert client.api.inspect_network(network.id)["Internal"] is True
        assert running.casualty() is None


def test_run_removes_its_container_and_its_time_limit_holds(engine: Engine, image: str) -> None:
    lines: list[str] = []
    result = engine.run(image, ["sh", "-c", "echo a; echo b >&2; exit 3"], on_line=lines.append)
    assert (result.exit_code, sorted(lines)) == (3, ["a", "b"])
    began = time.monotonic()
    with pytest.raises(Exception, match="did not end within 1 s"):
        engine.run(image, ["sleep", "600"], timeout=1)
    assert time.monotonic() - began < 300
