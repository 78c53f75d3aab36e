"""What people do with clusters that stay, on a real engine: scale, shell, jobs, checks, faults."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cluster.standing import CLUSTER
from mlruntime.engine import Engine

from tests.conftest import Runtime, mlruntime

pytestmark = pytest.mark.cluster

SUM = """
from pyspark.sql import SparkSession
context = SparkSession.builder.getOrCreate().sparkContext
print("sum", context.parallelize(range(1000), 4).sum())
"""
# Two jobs of one application; what is between them is for the test to say.
TWO_JOBS = """
import pathlib, time
from pyspark.sql import SparkSession
context = SparkSession.builder.getOrCreate().sparkContext
print("first", context.parallelize(range(1000), 4).sum(), flush=True)
deadline = time.monotonic() + 120
while not pathlib.Path("/shared/work/go").exists() and time.monotonic() < deadline:
    time.sleep(0.1)
print("second", context.parallelize(range(1000), 4).map(lambda n: n + 1).sum(), flush=True)
"""


@pytest.fixture
def name(engine: Engine) -> Iterator[str]:
    name = f"verbs-{os.getpid()}"
    yield name
    for one in (name, f"{name}-b"):
        left = engine.owned({CLUSTER: one})
        engine.remove(left)
        assert not left


def command(runtime: Runtime, *words: str) -> list[str]:
    return [sys.executable, "-m", "mlruntime", "--root", str(runtime.root), "cluster", *words]


def ran(runtime: Runtime, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(runtime, *words), capture_output=True, text=True, timeout=600, check=False
    )


def cluster(runtime: Runtime, *words: str) -> Any:
    return mlruntime(runtime.root, "cluster", *words)


@contextmanager
def standing(runtime: Runtime, name: str, workers: int = 1) -> Iterator[Any]:
    """Yield what `up` prints of a cluster, for a block."""
    words = (runtime.name, "--name", name, "--memory", "2g", "--workers", str(workers))
    started = cluster(runtime, "up", *words)
    try:
        yield started
    finally:
        cluster(runtime, "down", name)


def until(true: Callable[[], Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_port_that_is_taken_leaves_nothing(
    runtime: Runtime, engine: Engine, name: str, tmp_path: Path
) -> None:
    """By a container, as by another program of the engine's host, which may be elsewhere."""
    with standing_port(engine, runtime) as port:
        file = tmp_path / "cluster.yaml"
        file.write_text(f"{{image: {runtime.image!r}, memory: 2g, ports: {{ui: {port}}}}}")
        done = ran(runtime, "up", "--file", str(file), "--name", name, "--no-class-data")
    assert done.returncode == 6, done.stderr
    assert "choose another port in `ports:`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not engine.owned({CLUSTER: name})


@contextmanager
def standing_port(engine: Engine, runtime: Runtime) -> Iterator[int]:
    """Yield a port of the engine's host that a container publishes."""
    words = [
        "docker",
        "run",
        "--detach",
        "--publish",
        "127.0.0.1:0:80",
        runtime.image,
        "sleep",
        "600",
    ]
    ident = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    try:
        address = engine.container(ident).address(80)
        assert address is not None
        yield int(address.rpartition(":")[2])
    finally:
        subprocess.run(["docker", "rm", "--force", ident], capture_output=True, check=True)


def test_ctrl_c_of_up_leaves_nothing(runtime: Runtime, engine: Engine, name: str) -> None:
    words = ("up", runtime.name, "--name", name, "--memory", "2g", "--no-class-data")
    process = subprocess.Popen(command(runtime, *words), stderr=subprocess.PIPE, text=True)
    until(lambda: [t for t in engine.owned({CLUSTER: name}) if t.kind == "container"])
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not engine.owned({CLUSTER: name})


@pytest.mark.extra
def test_workers_come_and_go_and_jobs_are_followed(
    runtime: Runtime, name: str, tmp_path: Path
) -> None:
    program = tmp_path / "sum.py"
    program.write_text(SUM)
    with standing(runtime, name):
        assert cluster(runtime, "scale", name, "2")["workers"] == ["worker-1", "worker-2"]
        status = cluster(runtime, "status", name)
        assert status["master"]["alive_workers"] == 2
        detached = ran(runtime, "submit", "--detach", name, str(program)).stdout.strip()
        followed = ran(runtime, "logs", "--follow", name, detached)
        assert followed.returncode == 0, followed.stderr
        assert "sum 499500" in followed.stdout.splitlines()
        states = {n["name"]: n["state"] for n in cluster(runtime, "status", name)["nodes"]}
        assert states[detached] == "exited with 0"
        assert cluster(runtime, "scale", name, "1")["workers"] == ["worker-1"]
        assert cluster(runtime, "status", name)["master"]["alive_workers"] == 1
        again = ran(runtime, "submit", name, str(program))
        assert (again.returncode, again.stdout) == (0, "sum 499500\n"), again.stderr
        more = ran(runtime, "scale", name, "64")
        assert more.returncode == 2 and "64 workers with 2 GiB of memory each" in more.stderr


@pytest.mark.extra
def test_a_shell_is_on_this_terminal(runtime: Runtime, engine: Engine, name: str) -> None:
    program = (
        "from pyspark.sql import SparkSession as S; "
        "print(input('what? '), S.builder.getOrCreate().range(10).count()); raise SystemExit(7)"
    )
    with standing(runtime, name):
        before = {t.name for t in engine.owned({CLUSTER: name})}
        words = ("python", "-c", program)
        code, drawn = shell(runtime, name, *words, at=b"what? ", do=lambda p: os.write(p, b"it\r"))
        assert code == 7, drawn
        assert b"it 10\r\n" in drawn
        assert {t.name for t in engine.owned({CLUSTER: name})} == before

        def kill(_: int) -> None:
            for thing in engine.owned({CLUSTER: name}):
                if thing.name not in before:
                    engine.container(thing.id).kill()

        words = ("sh", "-c", "echo here; sleep 600")
        code, drawn = shell(runtime, name, *words, at=b"here", do=kill)
        assert code == 137, drawn
        assert {t.name for t in engine.owned({CLUSTER: name})} == before


def shell(
    runtime: Runtime, name: str, *words: str, at: bytes, do: Callable[[int], object]
) -> tuple[int, bytes]:
    """Return how `cluster shell` ends, and what it draws; ``do`` something once it draws ``at``.

    It is told the descriptor of a terminal, on which the shell is.
    """
    person, terminal = pty.openpty()
    process = subprocess.Popen(
        command(runtime, "shell", name, *words), stdin=terminal, stdout=terminal,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(terminal)
    drawn, done = b"", False
    with suppress(OSError):  # the terminal is shut once nobody has it open any more
        while part := os.read(person, 4096):
            drawn += part
            if at in drawn and not done:
                done = True
                do(person)
    _, said = process.communicate(timeout=300)
    os.close(person)
    return process.returncode, drawn + said


@pytest.mark.extra
def test_several_clusters_at_once_are_apart(
    runtime: Runtime, engine: Engine, name: str, tmp_path: Path
) -> None:
    program, other = tmp_path / "sum.py", f"{name}-b"
    program.write_text(SUM)
    ups = [
        subprocess.Popen(
            command(runtime, "up", runtime.name, "--name", one, "--memory", "2g", "--workers", "1"),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for one in (name, other)
    ]  # fmt: skip
    try:
        for process in ups:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
        listed = {c["name"]: c["state"] for c in cluster(runtime, "list")["clusters"]}
        assert listed.items() >= {(name, "running"), (other, "running")}
        # One of the other is not reached from here: they have networks of their own.
        reach = f"import socket; socket.create_connection(('mlr-{other}-master', 7077), 5)"
        inside = engine.container(f"mlr-{name}-master").call(["python3", "-c", reach])
        assert inside.exit_code != 0
        cluster(runtime, "down", other)
        done = ran(runtime, "submit", name, str(program))
        assert (done.returncode, done.stdout) == (0, "sum 499500\n"), done.stderr
    finally:
        ran(runtime, "down", other)
        cluster(runtime, "down", name)


@pytest.mark.extra
def test_a_master_that_is_killed_during_a_job_comes_back_and_the_job_ends_right(
    runtime: Runtime, engine: Engine, name: str, tmp_path: Path
) -> None:
    program = tmp_path / "two.py"
    program.write_text(TWO_JOBS)
    with standing(runtime, name):
        master = engine.container(f"mlr-{name}-master")
        with between_jobs(runtime, name, program, master):
            master.call(["pkill", "-9", "java"])
            until(lambda: master.state().restarts and master.state().running)
            status = partial(cluster, runtime, "status", name)
            until(lambda: (status()["master"] or {}).get("alive_workers") == 1)
            assert status()["master"]["applications"] == 1


@contextmanager
def between_jobs(runtime: Runtime, name: str, program: Path, master: Any) -> Iterator[None]:
    """Run a block while an application waits between its jobs; the second must end right."""
    words = command(runtime, "submit", name, str(program))
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "first 499500\n"
            yield
            master.call(["touch", "/shared/work/go"])
            out, _ = process.communicate(timeout=300)
        finally:
            process.terminate()
    assert (process.returncode, out) == (0, "second 500500\n")


@pytest.mark.extra
def test_no_command_line_has_the_secret_while_a_job_runs(
    runtime: Runtime, engine: Engine, name: str, tmp_path: Path
) -> None:
    """An executor has it in its environment, which only its own user and root can read."""
    program = tmp_path / "two.py"
    program.write_text(TWO_JOBS)
    with standing(runtime, name):
        master = engine.container(f"mlr-{name}-master")
        settings = master.call(["cat", "/etc/spark/spark-defaults.conf"]).tail
        secret = settings.partition("spark.authenticate.secret ")[2].split()[0]
        with between_jobs(runtime, name, program, master):
            words = ["ps", "axww", "-o", "args"]
            seen = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            assert "CoarseGrainedExecutorBackend" in seen  # so the engine is on this host
            assert secret not in seen
            for thing in engine.owned({CLUSTER: name}):
                if thing.kind == "container":
                    inspected = engine.container(thing.id).inspect()  # type: ignore[attr-defined]
                    assert secret not in repr(inspected)
            assert environments_with(secret)
            assert not environments_with(secret, user=65534, group=65534, extra_groups=[])


def environments_with(secret: str, **who: Any) -> list[str]:
    """Return the processes whose environment has a secret and can be read, by ``who``."""
    done = subprocess.run(
        ["sh", "-c", "grep -alsF -f - /proc/[0-9]*/environ"],
        input=secret, capture_output=True, text=True, **who,
    )  # fmt: skip
    return str(done.stdout).split()


@pytest.mark.extra
def test_checks_run_on_a_cluster_that_is_there_and_leave_it_as_it_was(
    runtime: Runtime, engine: Engine, name: str, tmp_path: Path
) -> None:
    checks = ("spark.aggregate", "horovod.allreduce")
    only = [word for check in checks for word in ("--only", check)]
    with standing(runtime, name, workers=2):
        before = {t.id for t in engine.owned()}
        report = mlruntime(runtime.root, "validate", runtime.name, "--on", name, *only)
        assert {c["name"]: c["status"] for c in report["checks"]} == dict.fromkeys(checks, "passed")
        assert report["place"] == f"cluster {name}"
        master = engine.container(f"mlr-{name}-master")
        settings = master.call(["cat", "/etc/spark/spark-defaults.conf"]).tail
        secret = tmp_path / "secret"
        secret.write_text(settings.partition("spark.authenticate.secret ")[2].split()[0])
        (network,) = {t.name for t in engine.owned({CLUSTER: name}) if t.kind == "network"}
        where = ("--on", f"spark://mlr-{name}-master:7077", "--network", network,
                 "--secret", str(secret))  # fmt: skip
        report = mlruntime(runtime.root, "validate", runtime.name, *where, *only)
        assert {c["name"]: c["status"] for c in report["checks"]} == dict.fromkeys(checks, "passed")
        assert {t.id for t in engine.owned()} == before
        status = cluster(runtime, "status", name)
        assert all(node["restarts"] == 0 for node in status["nodes"])
        assert json.dumps(status["master"]["applications"]) == "0"
