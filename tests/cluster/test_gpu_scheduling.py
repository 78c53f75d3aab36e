"""GPUs through Spark's own scheduler, on a host without any: discovery scripts tell of fake ones.

One worker with four cores and two GPUs, so that it is the GPUs that limit what runs at once.
"""

import os
from collections.abc import Iterator

import pytest
from mlruntime.cluster.containers import ContainerCluster, cluster
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.gpus import DISCOVERY, Gpus
from mlruntime.cluster.running import ClusterFailed
from mlruntime.engine import Engine

from tests.cluster.driver import ENVIRONMENT, INSIDE, MOUNTS, Driver, driver
from tests.conftest import Runtime

pytestmark = pytest.mark.cluster

GPUS = ["GPU-a", "GPU-b"]


def specified(runtime: Runtime, script: str) -> ClusterSpec:
    return ClusterSpec(
        image=runtime.image,
        workers=1,
        cores=4,
        mounts=MOUNTS,
        environment=ENVIRONMENT,
        gpus=Gpus(each=2, script=script),
    )


def mine(engine: Engine) -> set[str]:
    """Return what this process has in the engine: the module's cluster may be up meanwhile."""
    return {thing.name for thing in engine.owned({"mlruntime.pid": str(os.getpid())})}


@pytest.fixture(scope="module")
def running(runtime: Runtime, engine: Engine) -> Iterator[ContainerCluster]:
    with cluster(engine, specified(runtime, f"{INSIDE}/two-gpus")) as up:
        yield up
    assert [thing for thing in engine.owned() if up.ident in thing.name] == []


@pytest.fixture(scope="module")
def spark(running: ContainerCluster) -> Iterator[Driver]:
    with driver(running, {"spark.executor.memory": "1g", **running.settings}) as started:
        started.result(started.run("await_slots", count=2))
        yield started


def test_two_tasks_on_one_worker_get_different_gpus(spark: Driver) -> None:
    (one, first), (other, second) = spark.result(spark.run("devices:tasks", count=2))
    assert one == other
    assert sorted([first, second]) == [["GPU-a"], ["GPU-b"]]


def test_each_rank_sees_the_gpu_of_its_task_alone(spark: Driver) -> None:
    spark.result(spark.run("devices:look", 2, name="two"))
    seen = [spark.await_note("two", rank) for rank in range(2)]
    assert sorted(one["gpus"] for one in seen) == GPUS
    assert [one["local"] for one in seen] == [0, 1]


def test_more_ranks_than_gpus_are_refused_in_seconds(spark: Driver) -> None:
    # From this age on an application is told within a few seconds that no more will come.
    spark.result(spark.run("age", seconds=20))
    outcome = spark.outcome(spark.run("devices:look", 3, name="three"))
    assert outcome["error"] == "NotEnoughSlots"
    assert outcome["text"].startswith("np=3, but the cluster has 2 task slots with a GPU")
    assert "Lower np, or give the application more executors with GPUs" in outcome["text"]
    assert outcome["seconds"] < 8
    assert spark.ranks() == 0


@pytest.mark.parametrize("parts", [["tensorflow"], ["tensor", "flow"]], ids=["ahead", "in main"])
def test_training_on_the_cpu_in_spite_of_a_gpu_is_refused(spark: Driver, parts: list[str]) -> None:
    outcome = spark.outcome(spark.run("devices:look", 1, name="cpu", framework=parts))
    assert outcome["error"] == "RankFailed"
    assert "TensorFlow finds 0 GPUs here and trains on the CPU" in outcome["text"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (f"{INSIDE}/nonsense-gpus", "No devices were found"),
        # The image's own script, on a host that has none.
        (DISCOVERY, "with addresses:  is less than what the user requested: 2"),
        ("/nowhere/discover", "/nowhere/discover"),
    ],
)
def test_a_script_that_does_not_find_what_the_worker_offers(
    runtime: Runtime, engine: Engine, script: str, said: str
) -> None:
    before = mine(engine)
    with (
        pytest.raises(ClusterFailed) as refused,
        cluster(engine, specified(runtime, script), ready=30),
    ):
        pytest.fail("it came up")
    assert "worker-1 exited" in str(refused.value)
    assert said in str(refused.value.why)
    assert f"run {script} in a worker's container" in str(refused.value.hint)
    assert mine(engine) == before
