"""GPUs of a cluster as data, and where they arrive."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.cluster.containers import cluster
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.gpus import DISCOVERY, NO_GPUS, Gpus, dealt
from mlruntime.engine.docker.engine import DockerEngine
from mlruntime.engine.docker.sdk import failure
from mlruntime.errors import UsageError

from tests.unit.cluster.test_cluster import FakeEngine


@given(st.integers(0, 12), st.integers(1, 6))
def test_gpus_are_dealt_out_evenly_each_to_one_worker(count: int, workers: int) -> None:
    devices = [f"GPU-{n}" for n in range(count)]
    if 0 < count < workers:
        with pytest.raises(UsageError, match="each worker needs"):
            dealt(devices, workers)
        return
    gpus = dealt(devices, workers)
    given_out = [uuid for found in gpus.devices.values() for uuid in found]
    assert len(set(given_out)) == len(given_out) == gpus.each * workers
    assert gpus.each == count // workers
    assert set(given_out) <= set(devices)


def test_nothing_is_set_without_gpus() -> None:
    assert dealt([], 2) == NO_GPUS
    assert (NO_GPUS.worker(), NO_GPUS.application(), NO_GPUS.of("worker-1")) == ({}, {}, ())


def test_what_spark_is_told() -> None:
    gpus = Gpus(each=2)
    assert gpus.worker() == {
        "SPARK_WORKER_OPTS": "-Dspark.worker.resource.gpu.amount=2 "
        f"-Dspark.worker.resource.gpu.discoveryScript={DISCOVERY}"
    }
    assert gpus.application() == {
        "spark.executor.resource.gpu.amount": "2",
        "spark.task.resource.gpu.amount": "1",
    }


def test_each_worker_is_given_its_own_and_nobody_else_any() -> None:
    engine = FakeEngine()
    spec = ClusterSpec(image="i", gpus=dealt(["GPU-a", "GPU-b"], 2))
    with cluster(engine, spec) as running:
        assert running.settings["spark.task.resource.gpu.amount"] == "1"
    assert {role: node["gpus"] for role, node in engine.started.items()} == {
        "master": (), "driver": (), "worker-1": ("GPU-a",), "worker-2": ("GPU-b",),
    }  # fmt: skip
    assert "SPARK_WORKER_OPTS" in engine.started["worker-1"]["environment"]


def test_the_engine_is_asked_for_these_gpus() -> None:
    asked: list[Any] = []
    api = SimpleNamespace(
        create_host_config=lambda **options: asked.append(options["device_requests"]),
        create_container=lambda *words, **options: None,
        start=lambda name: None,
    )
    engine = DockerEngine(api, api)
    engine.start("i", ["c"], gpus=("GPU-a",))
    engine.start("i", ["c"])
    assert asked[1] is None
    (request,) = asked[0]
    assert request["DeviceIDs"] == ["GPU-a"]
    assert request["Capabilities"] == [["gpu"]]


def test_an_engine_without_nvidias_toolkit_says_what_to_install() -> None:
    error = failure("starting x", 'could not select device driver "" with capabilities: [[gpu]]')
    assert error.hint is not None
    assert "nvidia-ctk" in error.hint
