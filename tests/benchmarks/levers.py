"""What one Spark setting changes: an image beside itself with the setting, workload by workload.

A program of its own, for whoever thinks of a new default of the image::

    python -m tests.benchmarks.levers 6.0-ml small spark.sql.shuffle.partitions=8

Settings that are given at once are tried one by one; ``a=b,,c=d`` is one trial of two settings.
``stock`` is the comparison that the benchmarks make: stock PySpark, and the image as it is.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import geometric_mean

from mlruntime.engine import connect

from tests.benchmarks.inside_mllib import SCALE, WORKLOADS
from tests.benchmarks.mllib import RUNTIMES, both
from tests.benchmarks.sides import WORKERS, application, compare
from tests.cluster.driver import Driver


def main(words: list[str]) -> int:
    """Print, for each trial and workload, how many times faster it is, and in processor time."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.levers", description=__doc__)
    parser.add_argument("runtime", choices=RUNTIMES)
    parser.add_argument("size", choices=SCALE)
    parser.add_argument("trials", nargs="+", metavar="SETTING=VALUE")
    parser.add_argument("--only", choices=WORKLOADS, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--cores", type=int, default=1, help="of each worker")
    asked = parser.parse_args(words)
    for trial in asked.trials:
        print(f"\n{asked.runtime}, {asked.size}: {trial}", flush=True)
        rows = []
        with _sides(asked.runtime, trial, asked.workers, asked.cores) as sides:
            for workload in asked.only or WORKLOADS:
                rows.append(compare(workload, asked.size, asked.rounds, sides))
                print(f"  {rows[-1]}", flush=True)
        faster = geometric_mean(row.ratio for row in rows)
        less = geometric_mean(row.processor_ratio for row in rows)
        print(f"  all: {faster:.3f}; processor: {less:.3f}", flush=True)
    return 0


@contextmanager
def _sides(runtime: str, trial: str, workers: int, cores: int) -> Iterator[tuple[Driver, Driver]]:
    if trial == "stock":
        with both(runtime) as sides:
            yield sides
        return
    settings = dict(pair.split("=", 1) for pair in trial.split(",,"))
    image = f"mlruntime/{runtime}:cpu"
    with ExitStack() as stack:
        engine = stack.enter_context(connect())
        plain, tried = (
            stack.enter_context(application(engine, image, more, workers=workers, cores=cores))
            for more in (None, settings)
        )
        yield plain, tried


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
