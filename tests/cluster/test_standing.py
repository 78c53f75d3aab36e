"""`mlruntime cluster` on a real engine: from up to down, and what a killed one leaves."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cluster.leftovers import remove_left
from mlruntime.cluster.standing import CLUSTER
from mlruntime.engine import Engine, owner

from tests.conftest import Runtime, mlruntime

pytestmark = pytest.mark.cluster

PROGRAM = """
import sys
from pathlib import Path
from pyspark import SparkFiles
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
rows = spark.sparkContext.parallelize(range(1000), 2)
word = rows.map(lambda n: open(SparkFiles.get("word.txt")).read()).distinct().collect()
print("sum", rows.sum(), word, sys.argv[1:])
# What others may see of a process: how it was called, and what it was told.
files = [Path("/proc/self/environ"), *Path("/proc").glob("[0-9]*/cmdline")]
seen = [path for path in files if b"whisper" in path.read_bytes()]
print("told", spark.conf.get("spark.my.password"), seen)
print("on stderr", file=sys.stderr)
sys.exit(3)
"""
STRANGER = """
import os, sys
os.environ["SPARK_CONF_DIR"] = "/tmp/none"
from pyspark.sql import SparkSession

# A session whose master has refused it may seem to be there until it is used.
session = SparkSession.builder.master(sys.argv[1]).getOrCreate()
print("connected", session.range(1).count())
"""


@pytest.fixture
def name(engine: Engine) -> Iterator[str]:
    name = f"test-{os.getpid()}"
    yield name
    left = engine.owned({CLUSTER: name})
    engine.remove(left)
    assert not left


def _cluster(runtime: Runtime, *words: str) -> Any:
    return mlruntime(runtime.root, "cluster", *words)


def test_a_cluster_from_up_to_down(
    runtime: Runtime, engine: Engine, name: str, tmp_path: Path
) -> None:
    started = _cluster(
        runtime, "up", runtime.name, "--name", name, "--memory", "2g", "--workers", "2",
        "--spark", "spark.hadoop.fs.s3a.secret.key=hush",
    )  # fmt: skip
    try:
        assert started["addresses"]["ui"].startswith("http://127.0.0.1:")
        with urllib.request.urlopen(started["addresses"]["ui"] + "/json/", timeout=10) as answer:
            assert json.load(answer)["aliveworkers"] == 2
        master = engine.container(f"mlr-{name}-master")
        secret = _secret(master)
        for node in ("master", "worker-1"):
            seen = subprocess.run(["ps", "axeww"], capture_output=True, text=True).stdout
            container = engine.container(f"mlr-{name}-{node}")
            seen += repr(container.inspect())  # type: ignore[attr-defined]
            assert secret not in seen and "hush" not in seen
            status = container.call(["cat", "/proc/self/status"]).tail
            assert "CapBnd:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
            assert container.call(["touch", "/opt/x"]).exit_code == 1
        done = _submit(runtime, name, tmp_path)
        assert done.returncode == 3, done.stderr
        assert done.stdout == "sum 499500 ['hello'] ['a', '--b']\ntold whisper []\n"
        assert "on stderr" in done.stderr.splitlines()
        assert secret not in done.stderr
        engine.container(f"mlr-{name}-worker-1").call(["pkill", "-9", "java"])
        _await(lambda: _cluster(runtime, "status", name), name)
    finally:
        _cluster(runtime, "down", name)
    assert name not in {c["name"] for c in _cluster(runtime, "list")["clusters"]}


def _secret(master: Any) -> str:
    text = master.call(["cat", "/etc/spark/spark-defaults.conf"]).tail
    return str(text.partition("spark.authenticate.secret ")[2].split()[0])


def _submit(runtime: Runtime, name: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    program, word = folder / "program.py", folder / "word.txt"
    program.write_text(PROGRAM)
    word.write_text("hello")
    command = [sys.executable, "-m", "mlruntime", "cluster", "submit", "--file", str(word),
               "--spark", "spark.my.password=whisper", name, str(program), "a", "--b"]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True)


def _await(status: Any, name: str) -> None:
    """Wait until a worker that was killed has been started again, and registered."""
    deadline = time.monotonic() + 60
    while True:
        found = status()
        worker = next(n for n in found["nodes"] if n["name"] == "worker-1")
        if worker["restarts"] and (found["master"] or {}).get("alive_workers") == 2:
            return
        assert time.monotonic() < deadline, found


def test_what_a_killed_up_has_started_is_removed_by_the_next(
    runtime: Runtime, engine: Engine, name: str
) -> None:
    command = [sys.executable, "-m", "mlruntime", "cluster", "up", "--image", runtime.image,
               "--name", name, "--memory", "2g", "--no-class-data"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        _until(lambda: len(_containers(engine, name)) >= 2)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert _containers(engine, name)
    assert owner.KEPT not in {key for t in engine.owned({CLUSTER: name}) for key in t.labels}
    remove_left(engine, print)  # as the next `up` does first
    assert not engine.owned({CLUSTER: name})


def _containers(engine: Engine, name: str) -> list[str]:
    return [t.name for t in engine.owned({CLUSTER: name}) if t.kind == "container"]


def _until(true: Any) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.extra
def test_a_stranger_gets_no_connection(
    runtime: Runtime, engine: Engine, name: str, tmp_path: Path
) -> None:
    _cluster(runtime, "up", runtime.name, "--name", name, "--memory", "2g", "--workers", "1")
    try:
        program = tmp_path / "stranger.py"
        program.write_text(STRANGER)
        command = [sys.executable, "-m", "mlruntime", "cluster", "submit", "--spark",
                   "spark.authenticate=false", name, str(program),
                   f"spark://mlr-{name}-master:7077"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode not in (0, 130)
        assert "connected" not in done.stdout
    finally:
        _cluster(runtime, "down", name)


@pytest.mark.extra
def test_a_job_that_eats_its_memory_ends_alone(
    runtime: Runtime, engine: Engine, name: str, tmp_path: Path
) -> None:
    _cluster(runtime, "up", runtime.name, "--name", name, "--memory", "2g", "--workers", "1")
    try:
        program = tmp_path / "eat.py"
        program.write_text("print(len(bytearray(b'1') * (3 << 30)))")
        command = [sys.executable, "-m", "mlruntime", "cluster", "submit", name, str(program)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 137
        assert "it used more than the 2 GiB" in done.stderr
        assert all(n["restarts"] == 0 for n in _cluster(runtime, "status", name)["nodes"])
    finally:
        _cluster(runtime, "down", name)
