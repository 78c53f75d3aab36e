"""Composing the gpu image beside `docker build`, and what a host with the cpu image pulls."""

import json
import os
import tempfile
from pathlib import Path

from mlruntime.definitions.files import Definitions
from mlruntime.lock.model import CORE
from mlruntime.store.store import Store
from mlruntime.workflows.locked import fresh_lock
from mlruntime.workflows.planning import planned_image
from mlruntime.workflows.store.stores import store_root

from tests.benchmarks.compose import ROOT, cli, ratio, sizes_table, timed_build
from tests.benchmarks.docker_build import docker_build
from tests.benchmarks.figures import Figures
from tests.benchmarks.settled import settle
from tests.conftest import GPU_RUNTIME, cold_store


def measure() -> Figures:
    """Compose from nothing and again; ask what is pulled; then build the Dockerfile."""
    warm = Store(store_root())
    for variant in ("cpu", "gpu"):
        cli(warm.root, ROOT, "build", GPU_RUNTIME, "--variant", variant)
    definitions = Definitions(ROOT)
    lock = fresh_lock(definitions, GPU_RUNTIME).cut(CORE)
    plan = planned_image(definitions, lock, "gpu")
    pull = json.loads(
        cli(warm.root, ROOT, "diff", f"{GPU_RUNTIME}:cpu", f"{GPU_RUNTIME}:gpu", "--json")
    )["pull"]
    with tempfile.TemporaryDirectory(dir=warm.root, prefix="bench-") as folder:
        work = Path(folder)
        cold = cold_store(warm, plan, lock, work / "store")
        settle()
        composed, result, memory = timed_build(cold.root, ROOT, work / "layout", GPU_RUNTIME, "gpu")
        again, _, _ = timed_build(cold.root, ROOT, work / "layout", GPU_RUNTIME, "gpu")
        target = f"mlruntime/bench-gpu:{os.getpid()}"
        theirs = docker_build(warm, plan, lock, work, target, push=False)
    both = theirs.built + theirs.gzipped
    rows = [
        ("what", "seconds", "ratio"),
        *(
            (what, f"{seconds:.1f}", ratio(seconds, composed))
            for what, seconds in (
                ("compose, layers compressed and in an OCI layout", composed),
                ("`docker build`, artifacts on a local mirror", theirs.built),
                ("gzip of its layers, level 6, side by side", theirs.gzipped),
                ("**`docker build` and gzip**", both),
                ("the same build again", again),
            )
        ),
    ]
    return Figures(
        name="compose-gpu",
        note=f"{GPU_RUNTIME}, gpu. Artifacts and native wheels in the store, no layer and no"
        f" bytecode. Peak memory of the builder: {memory} MiB. A host that has the cpu image pulls"
        f" {pull['size'] / 1e6:.0f} MB: {', '.join(pull['layers'])}.\n\n"
        + sizes_table(result, theirs.sizes),
        rows=tuple(rows),
    )
