"""Faults while jobs run, or many jobs at once; the last line is the result as JSON.

    python -m tests.chaos --minutes 5 --seed 1      # the same seed: the same faults
    python -m tests.chaos --jobs 200 --clients 20   # no faults

Exits with 1 if a job ended with a wrong result, said nothing or hung, if the cluster is not whole
again afterwards, or if something of it is left.
"""

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from mlruntime.cluster.standing import CLUSTER
from mlruntime.engine import Engine, connect

from tests.chaos.disturbing import disturb, in_the_background, possible
from tests.chaos.plan import BAD, Ended, Verdict, faults, judged, summary

_PROGRAMS: Final = Path(__file__).parent / "programs"
_TRAINING: Final = Path(__file__).parents[1] / "kubernetes" / "programs" / "train.py"
_JOB_SECONDS: Final = 900.0
_HEAL_SECONDS: Final = 180.0
# Of ten jobs, how many are trainings.
_TRAININGS: Final = 3
Job = tuple[str, list[str], Callable[[Any], bool]]


def sums(size: int, parts: int, seconds: float) -> Job:
    """Return a job that adds numbers up, and what its result must be."""
    wanted = {"keys": 97, "sum": size * (size - 1) // 2}
    words = [str(_PROGRAMS / "sums.py"), str(size), str(parts), str(seconds)]
    return "sums", words, lambda told: bool(told == wanted)


def training() -> Job:
    """Return a training by two ranks, whose weights are known."""

    def right(told: Any) -> bool:
        weights = [rank["weight"] for rank in told["ranks"]]
        return len(weights) == 2 and all(abs(w - told["expected"]) < 1e-4 for w in weights)

    return "training", [str(_TRAINING)], right


class Run:
    """A cluster, and what became of the jobs on it."""

    def __init__(self, name: str, cores: int) -> None:
        self.name, self.cores = name, cores
        self.verdicts: list[Verdict] = []
        self.seconds: list[float] = []
        self.told: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def mlruntime(self, *words: str) -> Any:
        """Run a verb of ``mlruntime cluster``; return its result."""
        done = subprocess.run(
            [sys.executable, "-m", "mlruntime", "cluster", *words, "--json"],
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    def do(self, job: Job) -> None:
        """Submit a job, wait for its end, and judge it."""
        kind, words, right = job
        begun = time.monotonic()
        verdict, why = judged(self._submitted(words), right)
        seconds = time.monotonic() - begun
        with self._lock:
            self.verdicts.append(verdict)
            self.seconds.append(seconds)
            if verdict != "right":
                self.told.append({"job": kind, "verdict": verdict, "why": why})
        print(f"        {kind}: {verdict} after {seconds:.1f} s", flush=True)

    def _submitted(self, words: list[str]) -> Ended:
        limits = ["--spark", f"spark.cores.max={self.cores}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "mlruntime", "cluster", "submit", *limits, self.name, *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            out, err = process.communicate(timeout=_JOB_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate()
            return Ended(exit_code=None, stdout=out, stderr=err)
        return Ended(exit_code=process.returncode, stdout=out, stderr=err)

    def whole(self, workers: int) -> bool:
        """Wait until all workers are there again; tell whether they are, and a job ends right."""
        deadline = time.monotonic() + _HEAL_SECONDS
        while time.monotonic() < deadline:
            master = self.mlruntime("status", self.name)["master"] or {}
            if master.get("alive_workers") == workers:
                kind, words, right = sums(1000, 2, 0)
                verdict, why = judged(self._submitted(words), right)
                print(f"afterwards: {kind} {verdict} {why}", flush=True)
                return verdict == "right"
            time.sleep(2)
        return False


def chaos(run: Run, engine: Engine, options: argparse.Namespace) -> dict[str, Any]:
    """Have clients submit jobs while faults happen; wait for the last job."""
    kinds, not_run = possible(engine)
    seconds = options.minutes * 60
    plan = faults(options.seed, seconds, options.workers, kinds)
    begun = time.monotonic()
    disturbing = in_the_background(plan, partial(disturb, engine, run.name), time.monotonic)

    def client(number: int) -> None:
        count = number
        while time.monotonic() - begun < seconds:
            run.do(training() if count % 10 < _TRAININGS else sums(20_000, 8, 0.5))
            count += 3

    _clients(client, options.clients)
    for thread in disturbing:
        thread.join()
    done = {kind: sum(fault.kind == kind for fault in plan) for kind in kinds}
    return {"seed": options.seed, "faults": done, "not run": dict(not_run)}


def load(run: Run, options: argparse.Namespace) -> dict[str, Any]:
    """Have clients submit so many jobs, as fast as they end."""
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for _ in range(options.jobs):
        jobs.put(sums(1000, 2, 0))
    begun = time.monotonic()

    def client(_: int) -> None:
        while True:
            try:
                job = jobs.get_nowait()
            except queue.Empty:
                return
            run.do(job)

    _clients(client, options.clients)
    return {"clients": options.clients, "all s": round(time.monotonic() - begun, 1)}


def _clients(client: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=client, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    """Run what the options say; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--minutes", type=float, help="jobs while faults happen, for so long")
    what.add_argument("--jobs", type=int, help="so many jobs, without faults")
    parser.add_argument("--seed", type=int, default=1, help="which faults happen (default: 1)")
    parser.add_argument("--clients", type=int, default=2, help="jobs at once (default: 2)")
    parser.add_argument("--workers", type=int, default=3, help="of the cluster (default: 3)")
    parser.add_argument("--runtime", default="6.0-ml", help="its image must be in the engine")
    options = parser.parse_args()
    # So that a training has its two ranks, and another job beside it has cores, too.
    run = Run(f"chaos-{os.getpid()}", cores=2 if options.minutes else 1)
    with connect() as engine:
        size = ("--workers", str(options.workers), "--cores", "2", "--memory", "3g")
        run.mlruntime("up", options.runtime, "--name", run.name, *size)
        try:
            told = chaos(run, engine, options) if options.minutes else load(run, options)
            whole = run.whole(options.workers)
        finally:
            run.mlruntime("down", run.name)
        left = [thing.name for thing in engine.owned({CLUSTER: run.name})]
    result = {**told, **summary(run.verdicts, run.seconds), "whole afterwards": whole,
              "left": left, "not right": run.told}  # fmt: skip
    print(json.dumps(result))
    return int(not whole or bool(left) or any(verdict in BAD for verdict in run.verdicts))


if __name__ == "__main__":
    sys.exit(main())
