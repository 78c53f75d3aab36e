"""How long each verb takes before it does anything: processes of their own, started cold."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from tests.benchmarks.figures import Figures

ROOT = Path(__file__).parents[2]
ROUNDS = 5
COMMANDS = {
    "Python with `pass`, for comparison": (sys.executable, "-c", "pass"),
    **{
        f"`{words}`": (sys.executable, "-m", "mlruntime", *words.split())
        for words in (
            "--version",
            "resolve 6.0-ml",
            "matrix show spark",
            "matrix check",
            "lock 6.0-ml --check",
            "diff 6.0-ml 7.0-ml",
            "build --help",
            "validate --help",
            "doctor --help",
        )
    },
}


def measure() -> Figures:
    """Run each command several times in turn; processor seconds are those of its whole process."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, words in COMMANDS.items():
            seen[name].append(_once(words))
    rows: list[tuple[str, ...]] = [
        ("mlruntime …", "processor seconds, median", "best", "seconds, median", "best")
    ]
    for name, times in seen.items():
        used, took = zip(*times, strict=True)
        figures = (median(used), min(used), median(took), min(took))
        rows.append((name, *(f"{figure:.2f}" for figure in figures)))
    load = os.getloadavg()[0]
    return Figures(
        name="start",
        note=f"{ROUNDS} rounds in turn. Load of the machine meanwhile: {load:.1f}.",
        rows=tuple(rows),
    )


def _once(words: tuple[str, ...]) -> tuple[float, float]:
    """Return the processor seconds and the seconds that a command took."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, check=False)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.decode()}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, took
