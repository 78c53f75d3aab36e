"""Class data on a real cluster: every JVM is asked what it has in its memory."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cluster.class_data import ARCHIVE, FOLDER, ClassData, files_of
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.standing import CLUSTER
from mlruntime.cluster.starting import down, up
from mlruntime.engine import Engine
from mlruntime.store.store import Store
from mlruntime.workflows.cluster.class_data import have

from tests.conftest import Runtime, mlruntime

pytestmark = pytest.mark.cluster

# Which JVMs there are in a container, and whether the kernel has mapped the archive into them.
LOOK = f"""
import glob, json
def jvms(_=0):
    found = {{}}
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            words = open(folder + "/cmdline").read().split("\\0")
            maps = open(folder + "/maps").read()
        except OSError:
            continue
        if words[0].endswith("/java"):
            name = next(word for word in words if word.startswith("org.apache.spark."))
            found[name.rpartition(".")[2]] = "{FOLDER}/{ARCHIVE}" in maps
    return found
"""
PROGRAM = f"""{LOOK}
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
assert spark.range(1000).selectExpr("sum(id)").first()[0] == 499500
print(json.dumps([jvms(), *spark.sparkContext.parallelize(range(2), 2).map(jvms).collect()]))
"""


@pytest.fixture
def name(engine: Engine) -> Iterator[str]:
    name = f"test-{os.getpid()}-data"
    yield name
    down(engine, name)
    assert not engine.owned({CLUSTER: name})


@pytest.fixture
def files(runtime: Runtime, engine: Engine, store: Store) -> ClassData:
    return have(store, engine, engine.image_config(runtime.image))


def _submitted(name: str, folder: Path, *words: str) -> list[dict[str, bool]]:
    program = folder / "look.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "mlruntime", "cluster", "submit", *words, name, str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()  # a JVM that warns would have written more
    found: list[dict[str, bool]] = json.loads(line)
    return found


def _doctor(runtime: Runtime, name: str) -> list[Any]:
    found = mlruntime(runtime.root, "cluster", "doctor", name, check=False)
    return [finding["what"] for finding in found["findings"]]


@pytest.mark.every_line
def test_every_jvm_of_a_cluster_has_mapped_it(
    runtime: Runtime, engine: Engine, name: str, files: ClassData, tmp_path: Path
) -> None:
    words = ["--image", runtime.image, "--name", name, "--memory", "2g", "--history"]
    started = mlruntime(runtime.root, "cluster", "up", *words)
    assert started["class_data"]
    driver, *workers = _submitted(name, tmp_path)
    assert driver == {"SparkSubmit": True}
    assert {jvm for found in workers for jvm in found} == {"Worker", "CoarseGrainedExecutorBackend"}
    assert all(mapped for found in workers for mapped in found.values())
    for node, jvm in (("master", "Master"), ("history", "HistoryServer")):
        container = engine.container(f"mlr-{name}-{node}")
        told = container.call(["python", "-c", f"{LOOK}print(json.dumps(jvms()))"]).tail
        assert json.loads(told) == {jvm: True}
    assert _doctor(runtime, name) == []


@pytest.mark.extra
def test_a_class_path_of_ones_own_is_slow_and_right(
    runtime: Runtime, engine: Engine, name: str, files: ClassData, tmp_path: Path
) -> None:
    """Also what `--no-class-data` starts, which is told nothing of it."""
    words = ["--image", runtime.image, "--name", name, "--memory", "2g", "--workers", "1"]
    mlruntime(runtime.root, "cluster", "up", *words)
    own = ["--spark", "spark.driver.extraClassPath=/tmp", "--spark"]
    driver, *_ = _submitted(name, tmp_path, *own, "spark.executor.extraClassPath=/tmp")
    assert driver == {"SparkSubmit": False}


@pytest.mark.extra
def test_the_class_data_of_another_image_is_refused_and_named(
    runtime: Runtime, engine: Engine, name: str, files: ClassData, tmp_path: Path
) -> None:
    """Even if all jars have the same paths, sizes and times: the JVMs do without, and are named."""
    key = "0" * 64
    other = ClassData(key=key, files=dict(zip(files_of(key), files.files.values(), strict=True)))
    spec = ClusterSpec(image=runtime.image, driver=False, workers=1, memory="1g")
    up(engine, spec, name, class_data=other)
    driver, *workers = _submitted(name, tmp_path)
    assert not any(mapped for found in (driver, *workers) for mapped in found.values())
    slow = [f"{node} did not take its class data, and so started slowly"
            for node in ("master: Master", "worker-1: Worker")]  # fmt: skip
    assert sorted(_doctor(runtime, name)) == slow
