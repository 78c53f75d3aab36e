"""What one Spark setting changes: an image beside itself with the setting, workload by workload.

A program of its own, for whoever thinks of a new default of the image::

    python -m tests.benchmarks.levers 6.0-ml small spark.sql.shuffle.partitions=8

Settings that are given at once are tried one by one; ``a=b,,c=d`` is one trial of two settings.
"""

import argparse
import sys
from contextlib import ExitStack
from statistics import geometric_mean, median

from mlruntime.engine import connect

from tests.benchmarks.inside_mllib import SCALE, WORKLOADS
from tests.benchmarks.mllib import RUNTIMES, WORKERS, application, equal
from tests.cluster.driver import Driver

USAGE = ("/sys/fs/cgroup/cpuacct/cpuacct.usage", "/sys/fs/cgroup/cpu.stat")


def main(words: list[str]) -> int:
    """Print, for each trial and workload, times as fast and the share of processor seconds."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.levers", description=__doc__)
    parser.add_argument("runtime", choices=RUNTIMES)
    parser.add_argument("size", choices=SCALE)
    parser.add_argument("trials", nargs="+", metavar="SETTING=VALUE")
    parser.add_argument("--only", choices=WORKLOADS, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--cores", type=int, default=1, help="of each worker")
    asked = parser.parse_args(words)
    image = f"mlruntime/{asked.runtime}:cpu"
    for trial in asked.trials:
        settings = dict(pair.split("=", 1) for pair in trial.split(",,"))
        print(f"\n{asked.runtime}, {asked.size}: {trial}", flush=True)
        with ExitStack() as stack:
            engine = stack.enter_context(connect())
            plain, tried = (
                stack.enter_context(
                    application(engine, image, more, workers=asked.workers, cores=asked.cores)
                )
                for more in (None, settings)
            )
            ratios = [
                _compare(workload, asked.size, asked.rounds, (plain, tried))
                for workload in asked.only or WORKLOADS
            ]
        times, shares = zip(*ratios, strict=True)
        print(f"  all: {geometric_mean(times):.3f} times as fast,"
              f" {geometric_mean(shares):.3f} of the processor seconds", flush=True)  # fmt: skip
    return 0


def _compare(
    workload: str, size: str, rounds: int, sides: tuple[Driver, Driver]
) -> tuple[float, float]:
    took: tuple[list[float], list[float]] = ([], [])
    used: tuple[list[float], list[float]] = ([], [])
    for round_ in range(1 + rounds):
        results = []
        for side, seconds, processor in zip(sides, took, used, strict=True):
            before = processor_seconds(side)
            job = side.run("inside_mllib:run", thread=False, workload=workload, size=size)
            answer = side.result(job, 600)
            results.append(answer["result"])
            if round_:
                seconds.append(answer["seconds"])
                processor.append(processor_seconds(side) - before)
        equal(workload, *results)
    times, share = median(took[0]) / median(took[1]), median(used[1]) / median(used[0])
    print(f"  {workload}: {median(took[0]):.2f} s -> {median(took[1]):.2f} s, {times:.2f} times;"
          f" processor {median(used[0]):.2f} s -> {median(used[1]):.2f} s", flush=True)  # fmt: skip
    return times, share


def processor_seconds(side: Driver) -> float:
    """Return what all containers of a cluster have used so far."""
    total = 0.0
    for node in side.cluster.nodes.values():
        found = node.call(["sh", "-c", f"cat {USAGE[0]} 2>/dev/null || head -1 {USAGE[1]}"])
        assert found.exit_code == 0, found.tail
        word = found.tail.split()[-1]
        total += int(word) / (1e6 if "usage_usec" in found.tail else 1e9)
    return total


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
