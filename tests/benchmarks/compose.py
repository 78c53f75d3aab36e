"""Composing the image beside `docker build` of the equivalent Dockerfile, from the same files."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mlruntime.definitions.files import Definitions
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import CORE
from mlruntime.store.store import Store
from mlruntime.workflows.locked import fresh_lock
from mlruntime.workflows.planning import planned_image
from mlruntime.workflows.store.stores import store_root

from tests.benchmarks.docker_build import docker_build
from tests.benchmarks.figures import Figures
from tests.benchmarks.pushing import push_layout, registry
from tests.benchmarks.settled import settle
from tests.conftest import RUNTIME, cold_store, copied

ROOT = Path(__file__).parents[2]
# A small dependency in the layer of all small dependencies, and an older version of it.
BUMP = "termcolor==2.5.0"


def measure() -> Figures:
    """Compose from nothing, again, with one pin changed, push; then build the Dockerfile, push."""
    warm = Store(store_root())
    cli(warm.root, ROOT, "build", RUNTIME)
    definitions = Definitions(ROOT)
    lock = fresh_lock(definitions, RUNTIME).cut(CORE)
    plan = planned_image(definitions, lock, "cpu")
    with tempfile.TemporaryDirectory(dir=warm.root, prefix="bench-") as folder:
        work = Path(folder)
        cold = cold_store(warm, plan, lock, work / "store")
        settle()
        composed, result, memory = timed_build(cold.root, ROOT, work / "layout")
        again, _, _ = timed_build(cold.root, ROOT, work / "layout")
        bumped_root = _bumped(cold.root, work / "root")
        bumped, bumped_result, _ = timed_build(cold.root, bumped_root, work / "bumped")
        rebuilt = [layer["name"] for layer in bumped_result["layers"] if not layer["cached"]]
        with registry(work) as address:
            sent = push_layout(work / "layout", f"{address}/ours:1")
            theirs = docker_build(warm, plan, lock, work, f"{address}/theirs:1")
    gzip = theirs.built + theirs.gzipped
    rows = [("what", "seconds", "ratio")]
    rows += [
        (what, f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}", ratio(seconds, composed))
        for what, seconds in (
            ("compose, layers compressed and in an OCI layout", composed),
            ("`docker build`, artifacts on a local mirror", theirs.built),
            ("gzip of its layers, level 6, side by side", theirs.gzipped),
            ("**`docker build` and gzip**", gzip),
            ("the same with our compressor instead of gzip", theirs.built + theirs.recompressed),
            ("the same build again", again),
            (f"one dependency changed (written: {', '.join(rebuilt)})", bumped),
        )
    ]
    pushed = composed + sent
    rows += [
        ("from artifacts to a registry:", "", ""),
        ("compose, and `skopeo copy` of the layout", f"{pushed:.1f}", ratio(pushed, composed)),
        (
            "`docker build`, and `docker push`",
            f"{theirs.built + theirs.pushed:.1f}",
            f"{ratio(theirs.built + theirs.pushed, composed)} ="
            f" {ratio(theirs.built + theirs.pushed, pushed)} of the line above",
        ),
    ]
    return Figures(
        name="compose",
        note=f"{RUNTIME}, cpu. Artifacts and native wheels in the store, no layer and no bytecode."
        f" Peak memory of the builder: {memory} MiB.\n\n" + sizes_table(result, theirs.sizes),
        rows=tuple(rows),
    )


def ratio(seconds: float, unit: float) -> str:
    return f"{seconds / unit:.2f}"


def cli(store: Path, root: Path, *words: str) -> str:
    """Run a verb with a store and definitions of its own; return what it printed."""
    command = [sys.executable, "-m", "mlruntime", "--root", str(root), *words]
    environment = os.environ | {"MLRUNTIME_STORE": str(store)}
    return subprocess.run(command, env=environment, check=True, text=True, stdout=-1).stdout


def timed_build(
    store: Path, root: Path, output: Path, runtime: str = RUNTIME, variant: str = "cpu"
) -> tuple[float, dict[str, Any], int]:
    """Compose an image; return seconds, what the verb said, and the peak of its memory in MiB."""
    started = time.perf_counter()
    words = ("build", runtime, "--variant", variant, "--output", str(output), "--json")
    printed = cli(store, root, *words)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return seconds, json.loads(printed), peak


def _bumped(store: Path, root: Path) -> Path:
    """Return definitions that ask for another version of one package, locked."""
    copied(root)
    path = root / "runtimes" / RUNTIME / "lock.json"
    runtime = path.with_name("runtime.yaml")
    text = runtime.read_text(encoding="utf-8")
    runtime.write_text(text.replace("\npython:\n", f"\npython:\n  - {BUMP}\n"), encoding="utf-8")
    left_out = parse_lock(path.read_text(encoding="utf-8"), file=str(path)).all_omitted
    omit = [w for o in left_out for w in ("--omit-unavailable", o.component)]
    cli(store, root, "lock", RUNTIME, *omit)
    return root


def sizes_table(result: dict[str, Any], theirs: list[int]) -> str:
    """Return the sizes of an image's layers, and of the other image, as a Markdown table."""
    lines = ["| layer | compressed MB | on disk MB |", "|---|---|---|"]
    for layer in result["layers"]:
        lines.append(
            f"| {layer['name']} | {layer['size'] / 1e6:.1f} | {layer['unpacked'] / 1e6:.1f} |"
        )
    unpacked = sum(layer["unpacked"] for layer in result["layers"])
    lines.append(f"| **all** | **{result['size'] / 1e6:.1f}** | **{unpacked / 1e6:.1f}** |")
    lines.append(f"| the Dockerfile's image, gzip 6 | {sum(theirs) / 1e6:.1f} | |")
    return "\n".join(lines)
