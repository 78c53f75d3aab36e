"""MLlib and DataFrames in the image beside stock PySpark, on two workers each, runs in turn."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from mlruntime.definitions.files import Definitions
from mlruntime.engine import connect
from mlruntime.lock.model import CORE
from mlruntime.store.store import Store
from mlruntime.workflows.locked import fresh_lock
from mlruntime.workflows.planning import planned_image
from mlruntime.workflows.store.stores import store_root

from tests.benchmarks.figures import Figures
from tests.benchmarks.inside_mllib import SCALE, WORKLOADS
from tests.benchmarks.plots import Bar, bars
from tests.benchmarks.quiet import disturbance
from tests.benchmarks.sides import TOLERANCE, WORKERS, application, compare
from tests.benchmarks.stock import stock_image
from tests.cluster.driver import Driver

ROOT = Path(__file__).parents[2]
RUNTIMES = ("6.0-ml", "7.0-ml")
ROUNDS = 5


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
    with both(runtime) as (stock, ours):
        rows = []
        for workload in WORKLOADS:
            rows.append(compare(workload, size, ROUNDS, (stock, ours)))
            print(rows[-1], file=sys.stderr, flush=True)
        peaks = [max(map(_peak, side.cluster.worker_hosts, [side] * WORKERS))
                 for side in (stock, ours)]  # fmt: skip
    name = f"mllib-{runtime}-{size}"
    plot = ROOT / "docs" / "plots" / f"{name}.svg"
    plot.parent.mkdir(exist_ok=True)
    title = f"{runtime}, {size} data: times as fast as stock PySpark"
    plot.write_text(bars(title, [Bar(r.workload, r.ratio) for r in rows]), encoding="utf-8")
    ratios = [row.ratio for row in rows]
    table = [("workload", "stock, median", "the image, median", "times as fast", "pairs of runs",
              "times less processor time")]  # fmt: skip
    table += [
        (row.workload, f"{median(row.before.elapsed):.2f} s", f"{median(row.after.elapsed):.2f} s",
         f"**{row.ratio:.2f}**", row.spread, f"{row.processor_ratio:.2f}")
        for row in rows
    ]  # fmt: skip
    table.append(("median of all", "", "", f"**{median(ratios):.2f}**",
                  f"{min(ratios):.2f} to {max(ratios):.2f}",
                  f"**{median(row.processor_ratio for row in rows):.2f}**"))  # fmt: skip
    return Figures(
        name=name,
        note=f"{WORKERS} workers with one core each on both sides, {ROUNDS} runs each in turn after"
        f" one that does not count; results equal to {TOLERANCE:g}. Peak memory of a worker:"
        f" {peaks[0]} MiB stock, {peaks[1]} MiB the image. {noise}\n\n![{title}](plots/{name}.svg)",
        rows=tuple(table),
    )


@contextmanager
def both(runtime: str) -> Iterator[tuple[Driver, Driver]]:
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


def _peak(host: str, side: Driver) -> int:
    """Return the most memory that a worker's container had, in MiB."""
    for path in ("/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"):
        found = side.node(host).call(["cat", path])
        if found.exit_code == 0:
            return int(found.tail) >> 20
    return 0
