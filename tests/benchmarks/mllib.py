"""MLlib and DataFrames in the image beside stock PySpark, on two workers each, runs in turn."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from mlruntime.cluster.containers import cluster
from mlruntime.cluster.description import ClusterSpec
from mlruntime.definitions.files import Definitions
from mlruntime.engine import Engine, Mount, connect
from mlruntime.lock.model import CORE
from mlruntime.store.store import Store
from mlruntime.workflows.locked import fresh_lock
from mlruntime.workflows.planning import planned_image
from mlruntime.workflows.stores import store_root

from tests.benchmarks.figures import Figures
from tests.benchmarks.inside_mllib import SCALE, WORKLOADS
from tests.benchmarks.plots import Bar, bars
from tests.benchmarks.quiet import disturbance
from tests.benchmarks.stock import stock_image
from tests.cluster.driver import ENVIRONMENT, MOUNTS, Driver, driver

ROOT = Path(__file__).parents[2]
RUNTIMES = ("6.0-ml", "7.0-ml")
BENCH = "/bench"
ROUNDS = 5
WORKERS = 2
# Results are the same numbers, added up in another order: by another library, on other partitions.
TOLERANCE = 1e-3
# Of ALS, the error of what it fits far too well is compared, and its factors are 32-bit floats.
TOLERANCES = {"ALS": 1e-2}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Seconds of a workload's runs on both sides."""

    workload: str
    stock: tuple[float, ...]
    ours: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Return how many times faster the image is."""
        return median(self.stock) / median(self.ours)

    @property
    def spread(self) -> str:
        """Return the least and the largest ratio of runs that followed each other."""
        pairs = [a / b for a, b in zip(self.stock, self.ours, strict=True)]
        return f"{min(pairs):.2f} to {max(pairs):.2f}"


def benchmarks() -> dict[str, Callable[[], Figures]]:
    """Return the benchmarks by name: one for each runtime and size, each under 15 minutes."""
    return {
        f"mllib-{runtime}-{size}": partial(measure, runtime, size)
        for runtime in RUNTIMES
        for size in SCALE
    }


def measure(runtime: str, size: str) -> Figures:
    """Run each workload on both sides in turn; raise ``ValueError`` where results differ."""
    noise = disturbance()
    with _both(runtime) as (stock, ours):
        rows = tuple(_row(workload, size, stock, ours) for workload in WORKLOADS)
        peaks = [max(map(_peak, side.cluster.worker_hosts, [side] * WORKERS))
                 for side in (stock, ours)]  # fmt: skip
    name = f"mllib-{runtime}-{size}"
    plot = ROOT / "docs" / "plots" / f"{name}.svg"
    plot.parent.mkdir(exist_ok=True)
    title = f"{runtime}, {size} data: times as fast as stock PySpark"
    plot.write_text(bars(title, [Bar(r.workload, r.ratio) for r in rows]), encoding="utf-8")
    ratios = [row.ratio for row in rows]
    table = [("workload", "stock, median", "the image, median", "times as fast", "pairs of runs")]
    table += [
        (row.workload, f"{median(row.stock):.2f} s", f"{median(row.ours):.2f} s",
         f"**{row.ratio:.2f}**", row.spread)
        for row in rows
    ]  # fmt: skip
    table.append(("median of all", "", "", f"**{median(ratios):.2f}**",
                  f"{min(ratios):.2f} to {max(ratios):.2f}"))  # fmt: skip
    return Figures(
        name=name,
        note=f"{WORKERS} workers with one core each on both sides, {ROUNDS} runs each in turn after"
        f" one that does not count; results equal to {TOLERANCE:g}. Peak memory of a worker:"
        f" {peaks[0]} MiB stock, {peaks[1]} MiB the image. {noise}\n\n![{title}](plots/{name}.svg)",
        rows=tuple(table),
    )


@contextmanager
def _both(runtime: str) -> Iterator[tuple[Driver, Driver]]:
    """Bring up a cluster of stock PySpark and one of the image, with an application on each."""
    definitions, store = Definitions(ROOT), Store(store_root())
    lock = fresh_lock(definitions, runtime).cut(CORE)
    plan = planned_image(definitions, lock, "cpu")
    with ExitStack() as stack:
        engine = stack.enter_context(connect())
        ours = f"mlruntime/{runtime}:cpu"
        engine.image_config(ours)  # told at once if it is not there
        stock = stack.enter_context(stock_image(engine, store, definitions, plan, lock))
        yield tuple(stack.enter_context(application(engine, image)) for image in (stock, ours))  # type: ignore[misc]


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
    mount = Mount(source=str(Path(__file__).parent), target=BENCH, read_only=True)
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


def _row(workload: str, size: str, stock: Driver, ours: Driver) -> Row:
    seconds: tuple[list[float], list[float]] = ([], [])
    for round_ in range(1 + ROUNDS):
        results = []
        for side, found in zip((stock, ours), seconds, strict=True):
            job = side.run("inside_mllib:run", thread=False, workload=workload, size=size)
            answer = side.result(job, 600)
            results.append(answer["result"])
            if round_:
                found.append(answer["seconds"])
        equal(workload, *results)
    row = Row(workload=workload, stock=tuple(seconds[0]), ours=tuple(seconds[1]))
    print(f"{workload}: {row.ratio:.2f} ({row.spread})", file=sys.stderr, flush=True)
    return row


def equal(workload: str, stock: list[float], ours: list[float]) -> None:
    """Raise ``ValueError`` unless two results of a workload are the same within its tolerance."""
    scale = max(map(abs, stock))
    apart = max(abs(a - b) for a, b in zip(stock, ours, strict=True)) / scale
    if apart > TOLERANCES.get(workload, TOLERANCE):
        raise ValueError(f"{workload}: results are {apart:.2g} apart: {stock} and {ours}")


def _peak(host: str, side: Driver) -> int:
    """Return the most memory that a worker's container had, in MiB."""
    for path in ("/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"):
        found = side.node(host).call(["cat", path])
        if found.exit_code == 0:
            return int(found.tail) >> 20
    return 0
