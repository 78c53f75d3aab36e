"""Two clusters that run the same MLlib workloads in turn: what each run took, and what came out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mlruntime.cluster.containers import cluster
from mlruntime.cluster.description import ClusterSpec
from mlruntime.engine import Engine, Mount

from tests.cluster.driver import ENVIRONMENT, MOUNTS, Driver, driver

BENCH = "/bench"
WORKERS = 2
# Results are the same numbers, added up in another order: by another library, on other partitions.
TOLERANCE = 1e-3
# Of ALS, the error of what it fits far too well is compared, and its factors are 32-bit floats.
TOLERANCES = {"ALS": 1e-2}
# A container's processor time so far, in control groups of version 1 (nanoseconds) and 2.
_USED = "cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null || head -n 1 /sys/fs/cgroup/cpu.stat"


@dataclass(frozen=True, kw_only=True)
class Runs:
    """What the runs of a workload took on one side, in seconds, run by run."""

    elapsed: tuple[float, ...]
    processor: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A workload's runs on the side that is compared with, and on the other, in turn."""

    workload: str
    before: Runs
    after: Runs

    @property
    def ratio(self) -> float:
        """Return how many times faster the second side is."""
        return median(self.before.elapsed) / median(self.after.elapsed)

    @property
    def processor_ratio(self) -> float:
        """Return how many times less processor time the second side needs."""
        return median(self.before.processor) / median(self.after.processor)

    @property
    def spread(self) -> str:
        """Return the least and the largest ratio of runs that followed each other."""
        pairs = [a / b for a, b in zip(self.before.elapsed, self.after.elapsed, strict=True)]
        return f"{min(pairs):.2f} to {max(pairs):.2f}"

    def __str__(self) -> str:
        """Return a line for whoever waits."""
        seconds = f"{median(self.before.elapsed):.2f} s, {median(self.after.elapsed):.2f} s"
        used = f"{median(self.before.processor):.2f} s, {median(self.after.processor):.2f} s"
        return (f"{self.workload}: {seconds}: {self.ratio:.2f} ({self.spread});"
                f" processor {used}: {self.processor_ratio:.2f}")  # fmt: skip


@contextmanager
def application(
    engine: Engine,
    image: str,
    settings: Mapping[str, str] | None = None,
    *,
    workers: int = WORKERS,
    cores: int = 1,
) -> Iterator[Driver]:
    """Bring up a cluster of an image with an application that runs workloads, for a block."""
    mount = Mount(source=str(Path(__file__).parent), target=BENCH, kind="bind", read_only=True)
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{ENVIRONMENT['PYTHONPATH']}:{BENCH}"}
    spec = ClusterSpec(
        image=image, workers=workers, cores=cores, memory="2g",
        mounts=(*MOUNTS, mount), environment=environment,
    )  # fmt: skip
    # What everybody sets; all else is what each side brings.
    memory = {"spark.executor.memory": "1536m", "spark.driver.memory": "1536m"}
    with (
        cluster(engine, spec) as running,
        driver(running, {**memory, **(settings or {})}) as program,
    ):
        yield program


def compare(workload: str, size: str, rounds: int, sides: tuple[Driver, Driver]) -> Comparison:
    """Run a workload on both sides in turn, once without counting, then so many rounds.

    Raises ``ValueError`` where the results differ by more than the workload's tolerance.
    """
    elapsed: tuple[list[float], list[float]] = ([], [])
    processor: tuple[list[float], list[float]] = ([], [])
    for round_ in range(1 + rounds):
        results = []
        for side, took, used in zip(sides, elapsed, processor, strict=True):
            begun = _processor_seconds(side)
            job = side.run("inside_mllib:run", thread=False, workload=workload, size=size)
            answer = side.result(job, 600)
            results.append(answer["result"])
            if round_:
                took.append(answer["seconds"])
                used.append(_processor_seconds(side) - begun)
        _compare_results(workload, *results)
    before, after = (
        Runs(elapsed=tuple(took), processor=tuple(used))
        for took, used in zip(elapsed, processor, strict=True)
    )
    return Comparison(workload=workload, before=before, after=after)


def _compare_results(workload: str, one: list[float], other: list[float]) -> None:
    scale = max(map(abs, one))
    apart = max(abs(a - b) for a, b in zip(one, other, strict=True)) / scale
    if apart > TOLERANCES.get(workload, TOLERANCE):
        raise ValueError(f"{workload}: results are {apart:.2g} apart: {one} and {other}")


def _processor_seconds(side: Driver) -> float:
    """Return what all containers of a cluster have used so far."""
    total = 0.0
    for node in side.cluster.nodes.values():
        found = node.call(["sh", "-c", _USED])
        assert found.exit_code == 0, found.tail
        *name, value = found.tail.split()
        total += int(value) / (1e6 if name == ["usage_usec"] else 1e9)
    return total
