"""From `cluster up` to the first finished job, beside Spark's own scripts in the same containers.

Three ways in turn, so that what else the machine does is the same for all: with class data,
without, and as one would with ``docker run`` and ``spark-class``, none of our options set.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.benchmarks.figures import Figures

RUNTIMES = ("6.0-ml", "7.0-ml")
ROUNDS = 5
NAME = f"bench-{os.getpid()}"
JOB = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
assert spark.range(1000).selectExpr("sum(id)").first()[0] == 499500
"""
AWAIT = """
import json, time, urllib.request
while True:
    try:
        with urllib.request.urlopen("http://localhost:8080/json/", timeout=5) as answer:
            if json.load(answer)["aliveworkers"] == 2:
                break
    except OSError:
        pass
    time.sleep(0.1)
"""
_CLASS = "org.apache.spark.deploy"


def measure() -> Figures:
    """Start a cluster of two workers and run a job, in each way; the images must be there."""
    rows: list[tuple[str, ...]] = [
        ("runtime", "what", "until it is ready", "job", "all, median", "best", "of stock")
    ]
    for runtime in RUNTIMES:
        _mlruntime("prepare", runtime)
        ways: dict[str, Callable[[str, str], tuple[float, float]]] = {
            "`cluster up`, `submit`": lambda runtime, job: _ours(runtime, job, "--class-data"),
            "the same, `--no-class-data`": lambda runtime, job: _ours(
                runtime, job, "--no-class-data"
            ),
            "`docker run … spark-class`": _stock,
        }
        found: dict[str, list[tuple[float, float]]] = {what: [] for what in ways}
        with tempfile.TemporaryDirectory() as folder:
            job = Path(folder, "job.py")
            job.write_text(JOB, encoding="utf-8")
            for _ in range(ROUNDS):
                for what, way in ways.items():
                    found[what].append(way(runtime, str(job)))
                    print(runtime, what, found[what][-1], file=sys.stderr, flush=True)
        stock = median(sum(pair) for pair in list(found.values())[-1])
        for what, pairs in found.items():
            whole = [sum(pair) for pair in pairs]
            rows.append((
                runtime,
                what,
                *(f"{median(pair[n] for pair in pairs):.1f} s" for n in (0, 1)),
                f"{median(whole):.1f} s",
                f"{min(whole):.1f} s",
                f"{median(whole) / stock:.2f}",
            ))  # fmt: skip
    return Figures(
        name="cluster",
        note=f"{ROUNDS} rounds in turn, 1 master and 2 workers; the images must be in the engine.",
        rows=tuple(rows),
    )


def _mlruntime(*words: str) -> None:
    command = [sys.executable, "-m", "mlruntime", "cluster", *words]
    subprocess.run(command, check=True, capture_output=True)


def _ours(runtime: str, job: str, option: str) -> tuple[float, float]:
    begun = time.perf_counter()
    try:
        _mlruntime("up", runtime, "--name", NAME, "--memory", "2g", option)
        ready = time.perf_counter()
        _mlruntime("submit", NAME, job)
        return ready - begun, time.perf_counter() - ready
    finally:
        _mlruntime("down", NAME)


def _docker(*words: str, feed: str | None = None) -> str:
    done = subprocess.run(["docker", *words], input=feed, check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
    return done.stdout


def _stock(runtime: str, job: str) -> tuple[float, float]:
    """Do it by hand: a network, a master, workers, and the job by spark-submit."""
    image, url = f"mlruntime/{runtime}:cpu", f"spark://{NAME}-master:7077"
    begun = time.perf_counter()
    _docker("network", "create", NAME)
    nodes = {
        "master": ("master.Master", "--host", f"{NAME}-master"),
        "worker-1": ("worker.Worker", "--cores", "1", "--memory", "1g", url),
        "worker-2": ("worker.Worker", "--cores", "1", "--memory", "1g", url),
    }
    try:
        for node, (start, *words) in nodes.items():
            _docker("run", "-d", "--network", NAME, "--name", f"{NAME}-{node}",
                    "--hostname", f"{NAME}-{node}", image,
                    "spark-class", f"{_CLASS}.{start}", *words)  # fmt: skip
        _docker("exec", f"{NAME}-master", "python", "-c", AWAIT)
        ready = time.perf_counter()
        program = f"cat >/tmp/job.py && spark-submit --master {url} /tmp/job.py"
        _docker("run", "-i", "--rm", "--network", NAME, image, "sh", "-c", program,
                feed=Path(job).read_text(encoding="utf-8"))  # fmt: skip
        return ready - begun, time.perf_counter() - ready
    finally:
        subprocess.run(["docker", "rm", "-f", *(f"{NAME}-{n}" for n in nodes)], check=True,
                       capture_output=True)  # fmt: skip
        subprocess.run(["docker", "network", "rm", NAME], check=True, capture_output=True)
