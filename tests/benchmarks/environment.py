"""Making an environment from a warm store, beside ``uv pip sync`` of the same wheels."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from mlruntime.workflows.store.stores import store_root
from uv import find_uv_bin

from tests.benchmarks.figures import Figures

ROOT = Path(__file__).parents[2]
RUNTIME = "6.0-ml"
ROUNDS = 3


def measure() -> Figures:
    """Time both in turn, each in a process of its own; the first of each fills the caches."""
    with tempfile.TemporaryDirectory(dir=store_root()) as scratch:
        return _measured(Path(scratch))


def _measured(scratch: Path) -> Figures:
    wheels, list_ = scratch / "wheels", scratch / "requirements.txt"
    _mlruntime("env", "export", RUNTIME, "--output", str(list_), "--wheels", str(wheels))
    made = _create(scratch / "first")
    _sync(scratch / "first-uv", list_, scratch)
    ours, theirs = [], []
    for number in range(ROUNDS):
        ours.append(_timed(lambda n=number: _create(scratch / f"ours-{n}")))  # type: ignore[misc]
        theirs.append(_timed(lambda n=number: _sync(scratch / f"uv-{n}", list_, scratch)))  # type: ignore[misc]
    count = sum(made["made"].values())
    rows = [
        ("what", "median", "worst"),
        ("`mlruntime env create`, warm", *_row(ours)),
        ("`uv venv` and `uv pip sync`, warm", *_row(theirs)),
    ]
    note = f"{RUNTIME} (cpu): {count} files by {' and '.join(made['made'])}; {ROUNDS} rounds."
    return Figures(name="environment", note=note, rows=tuple(rows))


def _mlruntime(*words: str) -> dict[str, dict[str, int]]:
    command = [sys.executable, "-m", "mlruntime", "-q", "--root", str(ROOT), *words, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, dict[str, int]] = json.loads(done.stdout)
    return found


def _create(target: Path) -> dict[str, dict[str, int]]:
    return _mlruntime("env", "create", RUNTIME, str(target))


def _sync(target: Path, list_: Path, scratch: Path) -> None:
    environ = os.environ | {"VIRTUAL_ENV": str(target), "UV_CACHE_DIR": str(scratch / "uv-cache")}
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "-q", "-p", "3.11", str(target)], env=environ, check=True)
    sync = [uv, "pip", "sync", "-q", "--offline", str(list_)]
    subprocess.run(sync, env=environ, check=True)


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _row(seconds: list[float]) -> tuple[str, str]:
    return f"{median(seconds):.2f} s", f"{max(seconds):.2f} s"
