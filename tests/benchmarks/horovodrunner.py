"""``HorovodRunner`` beside ``horovod.spark.run`` and ``horovodrun``, on the same containers."""

import json
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import docker
from mlruntime.cluster.containers import ContainerCluster, cluster
from mlruntime.cluster.description import ClusterSpec
from mlruntime.engine import Mount, connect

from tests.benchmarks.figures import Figures
from tests.cluster.driver import ENVIRONMENT, MOUNTS, Driver, driver

IMAGE = "mlruntime/6.0-ml:cpu"
PROGRAM = Path(__file__).with_name("inside_horovodrunner.py")
BENCH = "/bench"
WARM_ROUNDS, PAIRS = 9, 4
# Of two cores 0.4 are left for the driver and the master. Ranks wait for each other in every
# step: a short period keeps them from waiting for each other's next one, too.
WORKERS, SHARE, PERIOD = 4, 0.4, 20_000
SCALING = {"steps": 24, "warm_up": 4, "batch": 1024}


def measure() -> Figures:
    """Bring up a cluster of four workers with one slot each, and measure all of it there."""
    mount = Mount(source=str(PROGRAM.parent), target=BENCH, kind="bind", read_only=True)
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{ENVIRONMENT['PYTHONPATH']}:{BENCH}"}
    spec = ClusterSpec(
        image=IMAGE, workers=WORKERS, cores=1, memory="1500m",
        mounts=(*MOUNTS, mount), environment=environment,
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [("what", "HorovodRunner", "horovod.spark.run", "horovodrun")]
    settings = {"spark.executor.memory": "1g"}
    with (
        connect() as engine,
        cluster(engine, spec) as running,
        driver(running, settings) as program,
    ):
        program.result(program.run("await_slots", count=WORKERS))
        for part in (_launching, _recovery, _training):
            rows += part(program)
            print(rows[-1], file=sys.stderr, flush=True)
        rows += _scaling(program, running)
    return Figures(
        name="horovodrunner",
        note="Each worker is a container with one slot; horovodrun, which needs ssh to leave its "
        "host, runs its 2 ranks in the driver's container, as HorovodRunner does in the row of "
        "the throughput. Cold: the first run in a new application, executors registered. "
        f"Medians: {WARM_ROUNDS} warm runs, {PAIRS} pairs of trainings in turn. Scaling: all four "
        f"workers limited to {SHARE:g} of a core, by the engine's CPU quota; every rank has the "
        f"same work in a step, {SCALING['batch']} rows; np=1 is the mean of two, the first and "
        "the last.",
        rows=tuple(rows),
    )


def _bench(program: Driver, call: str, **arguments: Any) -> Any:
    # In the driver program's main thread: `horovod.spark.run` handles signals, and may only there.
    job = program.run(f"inside_horovodrunner:{call}", thread=False, **arguments)
    return program.result(job, 400)


def _horovodrun(program: Driver, what: str) -> float:
    words = ["horovodrun", "-np", "2", "-H", "localhost:2", "--gloo"]
    environment = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")
    process = program.cluster.driver.exec(
        [*words, "python3", f"{BENCH}/{PROGRAM.name}", what],
        environment={**environment, "TF_NUM_INTEROP_THREADS": "2"},
        workdir="/tmp",
    )
    lines = [line for _, line in process]
    if process.exit_code():
        raise RuntimeError("\n".join(["horovodrun failed", *lines[-20:]]))
    found = [line.partition("@@")[2] for line in lines if "@@" in line]
    return float(json.loads(found[0]))


def _launching(program: Driver) -> list[tuple[str, ...]]:
    cold, *warm = _bench(program, "times", rounds=1 + WARM_ROUNDS, np=2)
    spark_cold, *spark_warm = _bench(program, "times_of_horovod_spark", rounds=4, np=2)
    plain = []
    for _ in range(2):
        began = time.time()
        plain.append(_horovodrun(program, "first") - began)
    ratio = median(spark_warm) / median(warm)
    return [
        ("to the first allreduce, cold", f"{cold:.1f} s", f"{spark_cold:.1f} s",
         f"{median(plain):.1f} s"),
        ("to the first allreduce, warm", f"{median(warm):.2f} s",
         f"{median(spark_warm):.1f} s ({ratio:.1f} times as long)", "(always cold)"),
        ("slowest warm one", f"{max(warm):.2f} s", f"{max(spark_warm):.1f} s", ""),
    ]  # fmt: skip


def _recovery(program: Driver) -> list[tuple[str, ...]]:
    """From a rank's kill to the next batch that is done."""
    job = program.run("train", 2, options={"max_restarts": 1}, epochs=5, hold=3, name="recovery")
    note = program.await_epoch("recovery", 3)
    killed = time.monotonic()
    program.node(note["host"]).call(["kill", "-9", str(note["pid"])])
    while (now := program.note("recovery", 1)) is None or now["pid"] == note["pid"]:
        time.sleep(0.02)
    seconds = time.monotonic() - killed
    program.result(job)
    return [("from a killed rank to the next batch", f"{seconds:.1f} s", "ends", "ends")]


def _training(program: Driver) -> list[tuple[str, ...]]:
    ours, plain = [], []
    for _ in range(PAIRS):
        ours.append(_bench(program, "local_throughput", np=2))
        plain.append(_horovodrun(program, "throughput"))
    ratio = median(ours) / median(plain)
    return [
        ("steps per second, 2 ranks in one container",
         f"{median(ours):.1f} ({100 * ratio:.0f}% of horovodrun)", "", f"{median(plain):.1f}"),
    ]  # fmt: skip


def _scaling(program: Driver, running: ContainerCluster) -> list[tuple[str, ...]]:
    """Steps of all ranks with 1 to 4 workers, each of which has the same share of a core."""
    # All of them have the frameworks loaded before the limit makes that slow.
    _bench(program, "spark_throughput", np=WORKERS, steps=1, warm_up=1, batch=1)
    with closing(docker.from_env()) as engine:
        for host in running.worker_hosts:
            quota = int(SHARE * PERIOD)
            engine.api.update_container(host, cpu_period=PERIOD, cpu_quota=quota)
    rates: dict[int, list[float]] = {}
    for np in (*range(1, WORKERS + 1), 1):
        rates.setdefault(np, []).append(np * _bench(program, "spark_throughput", np=np, **SCALING))
    alone = sum(rates[1]) / len(rates[1])
    apart = abs(rates[1][0] - rates[1][1]) / alone
    rows: list[tuple[str, ...]] = [(f"steps per second, np=1, {SHARE:g} of a core each",
             f"{alone:.2f} (two runs, {100 * apart:.0f}% apart)", "", "")]  # fmt: skip
    for np in range(2, WORKERS + 1):
        (rate,) = rates[np]
        rows.append(
            (f"of all ranks, np={np}",
             f"{rate:.2f} ({100 * rate / (np * alone):.0f}% of {np} times one)", "", "")
        )  # fmt: skip
    return rows
