"""``HorovodRunner`` on a cluster of containers, with Spark's authentication and encryption on.

One cluster and one Spark application for all tests, of 2 workers with 2 slots each. The
library is the checkout's, mounted over the image's. All tests run on one runtime, and those that
are marked so on every other one too, whose Python, Spark and Keras are others.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import docker
import pytest
from mlruntime.cluster.containers import ContainerCluster, cluster
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.readiness import pumped
from mlruntime.engine import Engine

from tests.cluster.driver import (
    AUTHENTICATION,
    ENVIRONMENT,
    MOUNTS,
    Driver,
    daemon_options,
    driver,
    look_command,
)
from tests.conftest import RUNTIME, RUNTIMES, Runtime

pytestmark = pytest.mark.cluster

SETTINGS = {
    **{name: value.replace(" ", "_") for name, value in AUTHENTICATION.items()},
    "spark.executor.memory": "1g",
    "spark.driver.maxResultSize": "4m",
    "spark.executor.instances": "2",
    # A worker that was cut off is to be noticed by the library, not by Spark.
    "spark.network.timeout": "300s",
}
# Folders in which Spark's blocks would be, had they to go to the disk: 64 at the most, and empty.
SPARKS = re.compile(r"/blockmgr-[^/]+/[0-9a-f]{2}$")
EPOCHS, HOLD = 7, 3
SURVIVING = {"max_restarts": 1, "rank_timeout": 6, "slot_timeout": 90}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "running" in metafunc.fixturenames:
        everywhere = metafunc.definition.get_closest_marker("every_line")
        names: list[Any] = [RUNTIME]
        if everywhere is not None:
            marks = everywhere.kwargs.get("others", ())
            names += [pytest.param(n, marks=marks) for n in RUNTIMES if n != RUNTIME]
        metafunc.parametrize("running", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, ready: Callable[[str], Runtime], engine: Engine
) -> Iterator[ContainerCluster]:
    spec = ClusterSpec(
        image=ready(request.param).image,
        cores=2,
        memory="2g",
        mounts=MOUNTS,
        environment={**ENVIRONMENT, "SPARK_DAEMON_JAVA_OPTS": daemon_options(AUTHENTICATION)},
    )
    with cluster(engine, spec) as up:
        yield up
    assert [thing for thing in engine.owned() if up.ident in thing.name] == []


@pytest.fixture(scope="module")
def program(running: ContainerCluster) -> Iterator[Driver]:
    with driver(running, SETTINGS) as started:
        yield started


@pytest.fixture
def spark(program: Driver) -> Driver:
    """The application with all its slots, and nothing left on the workers."""
    program.result(program.run("await_slots", count=4))
    program.await_no_ranks()
    return program


@pytest.fixture(scope="module")
def undisturbed(program: Driver) -> Any:
    """What the training ends with when nothing happens to it."""
    program.result(program.run("await_slots", count=4))
    return program.result(program.run("train", 2, epochs=EPOCHS, name="undisturbed"))


@pytest.mark.parametrize("np", [1, 2, 3, 4])
def test_ranks_of_a_host_are_neighbours(spark: Driver, np: int) -> None:
    everyone = spark.result(spark.run("place", np))["everyone"]
    assert [rank for rank, *_ in everyone] == list(range(np))
    hosts = [host for _, host, *_ in everyone]
    assert hosts == sorted(hosts, key=hosts.index)  # each host once, in a row
    assert len(set(hosts)) == min(np, 2)
    for host in set(hosts):
        assert [local for _, at, local, _ in everyone if at == host] == list(
            range(hosts.count(host))
        )
    assert {threads for *_, threads in everyone} == {"1"}


def disturbed(spark: Driver, name: str, np: int = 2, **options: Any) -> tuple[int, Any]:
    """Start the training and wait until it is in the middle of an epoch."""
    job = spark.run(
        "train", np, options={**SURVIVING, **options}, epochs=EPOCHS, hold=HOLD, name=name
    )
    return job, spark.await_epoch(name, HOLD)


def assert_equal(spark: Driver, job: int, undisturbed: Any) -> None:
    result = spark.result(job)
    assert result["first"] == HOLD  # it went on from a checkpoint
    assert result["weights"] == pytest.approx(undisturbed["weights"], abs=1e-6)
    spark.await_no_ranks()


@pytest.mark.every_line
def test_a_killed_rank(spark: Driver, undisturbed: Any) -> None:
    job, note = disturbed(spark, "rank")
    spark.node(note["host"]).call(["kill", "-9", str(note["pid"])])
    assert_equal(spark, job, undisturbed)


def test_a_killed_python_worker(spark: Driver, undisturbed: Any) -> None:
    # Idle ones are killed too, and each of them may cost an attempt.
    job, note = disturbed(spark, "python", max_restarts=5)
    node = spark.node(note["host"])
    workers = spark.look()[note["host"]]["workers"]
    assert workers
    node.call(["kill", "-9", *map(str, workers)])
    assert_equal(spark, job, undisturbed)


def test_a_killed_executor(spark: Driver, undisturbed: Any) -> None:
    job, note = disturbed(spark, "executor")
    executors = spark.look()[note["host"]]["executors"]
    assert executors
    spark.node(note["host"]).call(["kill", "-9", *map(str, executors)])
    assert_equal(spark, job, undisturbed)


def test_a_stopped_rank(spark: Driver, undisturbed: Any) -> None:
    job, note = disturbed(spark, "stopped")
    spark.node(note["host"]).call(["kill", "-STOP", str(note["pid"])])
    assert_equal(spark, job, undisturbed)


def test_a_killed_container(spark: Driver, undisturbed: Any) -> None:
    job, note = disturbed(spark, "container")
    engine = docker.from_env()
    engine.api.kill(note["host"])
    time.sleep(1)
    engine.api.start(note["host"])
    engine.close()
    assert_equal(spark, job, undisturbed)


def test_a_cut_network(spark: Driver, undisturbed: Any) -> None:
    job, note = disturbed(spark, "network")
    engine = docker.from_env()
    network = f"mlr-{spark.cluster.ident}"
    engine.api.disconnect_container_from_network(note["host"], network)
    # Long enough for both sides to give up: the driver the ranks, the ranks the driver.
    time.sleep(SURVIVING["rank_timeout"] * 2 + 3)
    ranks = json.loads(spark.node(note["host"]).call(["python3", "/inside/look.py", "1"]).tail)
    assert ranks["ranks"] == []
    engine.api.connect_container_to_network(note["host"], network)
    engine.close()
    assert_equal(spark, job, undisturbed)


@pytest.mark.every_line(others=pytest.mark.extra)
def test_a_host_that_freezes_while_a_checkpoint_is_on_its_way(spark: Driver) -> None:
    checkpoint = "/home/ml/large-checkpoint"
    spark.result(spark.run("keep", path=checkpoint, size=64 << 20))
    options = {"rank_timeout": 6, "resume_from": checkpoint}
    job = spark.run("fetch", 2, options=options, name="fetch")
    note = spark.await_note("fetch", 1)
    with closing(docker.from_env()) as engine:
        engine.api.pause(note["host"])
        began = time.monotonic()
        outcome = spark.outcome(job)
        seconds = time.monotonic() - began
        engine.api.unpause(note["host"])
    assert outcome["error"] == "RankLost"
    assert "gave no sign of life for 6 s" in outcome["text"]
    assert seconds < 25
    spark.await_no_ranks()


@pytest.mark.every_line
def test_with_fewer_slots_if_allowed(spark: Driver) -> None:
    job, note = disturbed(spark, "fewer", np=4, elastic=True, slot_timeout=3, min_np=2)
    engine = docker.from_env()
    engine.api.kill(note["host"])
    result = spark.result(job)
    engine.api.start(note["host"])
    engine.close()
    assert result["size"] == 2
    assert result["first"] == HOLD
    assert any("going on with 2 ranks instead of 4" in line for line in spark.lines)


@pytest.mark.every_line
def test_cancelling_the_job_ends_every_process(spark: Driver) -> None:
    job = spark.run("wait", 4, name="cancelled")
    for rank in range(4):
        spark.await_note("cancelled", rank)
    assert spark.ranks() == 4
    spark.result(spark.run("cancel"))
    assert spark.outcome(job)["error"] == "RunCancelled"
    spark.await_no_ranks()


def test_ctrl_c_ends_every_process(spark: Driver) -> None:
    job = spark.run("wait", 4, name="interrupted", thread=False)
    for rank in range(4):
        spark.await_note("interrupted", rank)
    assert spark.ranks() == 4
    spark.cluster.driver.call(["kill", "-INT", str(spark.pid)])
    assert spark.outcome(job)["error"] == "KeyboardInterrupt"
    spark.await_no_ranks(1)


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("raise", "RankFailed", "ValueError: boo"),
        ("exit", "RankLost", "ended with status 3"),
        ("unpicklable", "RankFailed", "main returned a lock"),
    ],
)
def test_mains_that_fail(spark: Driver, how: str, error: str, words: str) -> None:
    outcome = spark.outcome(spark.run("misbehave", 2, how=how))
    assert outcome["error"] == error
    assert words in outcome["text"]
    assert outcome["rank"] == (0 if how == "unpicklable" else 1)
    spark.await_no_ranks()


@pytest.mark.every_line
def test_ranks_that_do_different_numbers_of_steps_are_ended(spark: Driver) -> None:
    options = {"stall_timeout": 5, "max_restarts": 1}
    outcome = spark.outcome(spark.run("uneven", 2, options=options, metric=True))
    assert outcome["error"] == "RankFailed"
    assert "all 2 ranks waited 5 s for each other: ranks did different numbers" in outcome["text"]
    assert re.search(r"rank 0 on \S+ waits since \d+ s \(epoch 1, step 2\)", outcome["text"])
    assert re.search(r"rank 1 on \S+ waits since \d+ s \(epoch 1, step 3\)", outcome["text"])
    spark.await_no_ranks()


@pytest.mark.every_line
def test_a_rank_that_returns_before_another_is_told_as_such(spark: Driver) -> None:
    outcome = spark.outcome(spark.run("uneven", 2, options={"max_restarts": 1}, metric=False))
    assert outcome["error"] == "RankFailed"
    assert "rank 0's main returned while rank 1 of 2 was still training" in outcome["text"]
    spark.await_no_ranks()


@pytest.mark.every_line
def test_ranks_that_never_join_each_other_are_told_of(spark: Driver) -> None:
    before = len(spark.lines)
    spark.result(spark.run("rank", 2))
    said = "\n".join(spark.lines[before:])
    assert "WARNING: main has not called hvd.init() on any rank. The 2 ranks do not train" in said


@pytest.mark.every_line
def test_ranks_that_train_apart_are_found_after_fit(spark: Driver) -> None:
    outcome = spark.outcome(spark.run("apart", 2, options={"check_weights": True}))
    assert outcome["error"] == "RankFailed"
    assert "ranks ended with different weights: at check number 1, rank 1" in outcome["text"]
    assert "differs from rank 0 in 2 of 2 trained weights" in outcome["text"]
    spark.await_no_ranks()


@pytest.mark.extra
@pytest.mark.every_line
def test_a_helper_with_keras_of_tensorflow_is_sent(spark: Driver) -> None:
    """``from tensorflow import keras`` at the top of a file is a lazy module where Keras is 2."""
    found = spark.result(spark.run("from_tensorflow"))
    assert found == {
        "size": 2,
        "kind": "Sequential",
        "version": found["here"],
        "here": found["here"],
    }


def test_a_hundred_megabytes_of_output(spark: Driver) -> None:
    job = spark.run("misbehave", 2, how="print", verbosity="all", options={"log_limit": 200 << 20})
    assert spark.result(job) == "print"
    sizes = spark.result(spark.run("logs"))
    assert sizes["rank-0.log"] == sizes["rank-1.log"] == 100 << 20


@pytest.mark.every_line
def test_a_result_over_sparks_limit_arrives(spark: Driver) -> None:
    assert spark.result(spark.run("large_result", size=20 << 20))


def test_a_large_closure_leaves_nothing_behind(spark: Driver) -> None:
    assert spark.result(spark.run("large", size=200 << 20))["right"]
    deadline = time.monotonic() + 30  # executors drop a broadcast when they hear of its end
    while True:
        large = [one for found in spark.look(50 << 20).values() for one in found["large"]]
        here = spark.cluster.driver.call(["python3", "/inside/look.py", str(50 << 20)])
        large += json.loads(here.tail)["large"]
        if not large:
            break
        assert time.monotonic() < deadline, large
        time.sleep(0.5)


def test_too_many_ranks_are_told_at_once(spark: Driver) -> None:
    outcome = spark.outcome(spark.run("place", 5))
    assert outcome["error"] == "NotEnoughSlots"
    assert "4 task slots" in outcome["text"]
    # Two seconds, but 20 for an application that is new, whose executors are still coming; Spark
    # by itself takes minutes.
    assert outcome["seconds"] < 30


@pytest.mark.every_line
def test_promised_executors_are_waited_for(spark: Driver) -> None:
    spark.result(spark.run("age", seconds=61))  # not a new application any more
    lost = spark.cluster.worker_hosts[0]
    with closing(docker.from_env()) as engine:
        engine.api.kill(lost)
        spark.result(spark.run("await_slots", count=2))
        outcome = spark.outcome(spark.run("place", 4, options={"executor_timeout": 3}))
        assert outcome["error"] == "NotEnoughSlots"
        assert "After 3 s 1 of 2 executors have come" in outcome["text"]
        job = spark.run("place", 4)
        time.sleep(6)
        engine.api.start(lost)
    assert len(spark.result(job)["everyone"]) == 4
    words = "HorovodRunner: 2 of 4 task slots so far, and 1 of 2 executors"
    assert any(line.startswith(words) for line in spark.lines)


def test_two_runs_side_by_side(spark: Driver) -> None:
    for number, result in enumerate(spark.result(spark.run("two_at_once")), start=1):
        assert result == [number, [[number, 0], [number, 1]]]


@pytest.mark.every_line
def test_the_next_run_goes_where_the_last_one_was(spark: Driver) -> None:
    hosts = spark.result(spark.run("one_by_one", count=6))
    assert len(set(hosts)) == 1


def inventory(spark: Driver) -> dict[str, dict[str, Any]]:
    """Return what there is on each node, with all files that its image does not have."""
    nodes = [*spark.cluster.worker_hosts, spark.cluster.driver.name]
    with closing(docker.from_env()) as engine:
        files = {
            name: {one["Path"] for one in engine.api.diff(name) if not SPARKS.search(one["Path"])}
            for name in nodes
        }
    look = {name: json.loads(spark.node(name).call(look_command(1 << 50)).tail) for name in nodes}
    return {name: {**look[name], "files": files[name]} for name in nodes}


@pytest.mark.every_line
def test_many_runs_leave_nothing(spark: Driver) -> None:
    spark.result(spark.run("many", count=5, keep_logs=5))
    before = inventory(spark)
    many = spark.result(spark.run("many", count=45, keep_logs=5), 180)
    first, last = many["held"]
    assert last == first
    assert many["different"] == 45
    after = inventory(spark)
    for host, found in after.items():
        was = before[host]
        for what in ("ranks", "keepers", "executors", "held", "ports", "shm"):
            assert found[what] == was[what], (host, what)
        assert len(found["workers"]) <= 2, host
        logs = {one for one in found["files"] | was["files"] if "/many-logs/" in one}
        assert found["files"] - logs == was["files"] - logs, host
        assert len(found["files"] & logs) == len(was["files"] & logs), host


def test_the_driver_listens_on_the_clusters_network_only(spark: Driver) -> None:
    (address,) = spark.result(spark.run("listening"))
    assert address.startswith("172.") or address.startswith("192.168.") or address.startswith("10.")


@pytest.mark.parametrize("copies", [50, 20_000], ids=["with the task", "by broadcast"])
def test_what_main_brings_and_returns_is_encrypted_by_spark(spark: Driver, copies: int) -> None:
    # What ranks print goes another way: it shows that the listener hears.
    words: dict[str, Any] = {
        name: f"{name}-{secrets.token_hex(8)}" for name in ("closure", "result", "output")
    }
    listener = ["python3", "-u", "/inside/sniff.py", *words.values()]
    heard = pumped(spark.cluster.driver.exec(listener, user="root"))
    assert heard.get(timeout=30) == ("stdout", "listening")
    assert spark.result(spark.run("tell", copies=copies, **words))
    assert heard.get(timeout=90) == ("stdout", json.dumps([words["output"]]))


def test_a_timeline_is_kept(spark: Driver) -> None:
    job = spark.run("train", 2, options={"timeline": True}, epochs=1, name="timeline")
    spark.result(job)
    sizes = spark.result(spark.run("logs"))
    assert sizes["timeline.json"] > 100
    assert sizes["metrics.jsonl"] > 10
    assert "checkpoint" not in sizes
