"""What all tests share: where the runtime under test comes from.

The expensive things (store, layers, native wheels, the image) are made once per run, by the
same verbs a user types, and kept in the store that ``MLRUNTIME_STORE`` names.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from builder import native
from builder.cli.build import planned_image
from builder.cli.stores import fetcher, store_root
from builder.definitions import Definitions
from builder.engine import Engine
from builder.lock import Lock, parse_lock
from builder.plan import Plan
from builder.store import Store
from builder.workshop import Workshop

CHECKOUT = Path(__file__).parents[1]
RUNTIME = "6.0-ml"


def mlruntime(root: Path, *words: str, check: bool = True, **environ: str) -> Any:
    """Run a verb in a process of its own; return what it printed as JSON."""
    command = [sys.executable, "-m", "builder", "--root", str(root), *words, "--json"]
    done = subprocess.run(command, env=os.environ | environ, stdout=subprocess.PIPE, text=True)
    if check:
        assert done.returncode == 0, f"mlruntime {' '.join(words)} exited with {done.returncode}"
    return json.loads(done.stdout)


def copied(target: Path) -> Path:
    """Copy the checkout's definitions, to be changed by a test."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(CHECKOUT / "matrix.yaml", target)
    for folder in ("runtimes", "images"):
        shutil.copytree(CHECKOUT / folder, target / folder, symlinks=True)
    return target


def relock(root: Path) -> None:
    """Lock anew; only what a registry does not have may be left out."""
    mlruntime(root, "lock", RUNTIME, "--omit-unavailable", "graphframes")


@dataclass(frozen=True)
class Runtime:
    """A locked runtime whose image is in the engine."""

    root: Path
    lock: Lock
    plan: Plan
    built: dict[str, Any]

    @property
    def image(self) -> str:
        return str(self.built["image_id"])


def read_lock(root: Path) -> Lock:
    path = root / "runtimes" / RUNTIME / "lock.json"
    return parse_lock(path.read_text(encoding="utf-8"), file="lock.json")


def plan_of(root: Path) -> Plan:
    return planned_image(Definitions(root), read_lock(root), "cpu")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine.connect() as connected:
        yield connected


@pytest.fixture(scope="session")
def store() -> Store:
    return Store(store_root())


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """Build and load 6.0-ml from the committed lock, or a new one when registries moved on."""
    root = copied(tmp_path_factory.mktemp("definitions"))
    checked = subprocess.run(
        [sys.executable, "-m", "builder", "--root", str(root), "lock", RUNTIME, "--check",
         "--registry"], stdout=subprocess.PIPE,
    )  # fmt: skip
    if checked.returncode == 4:
        relock(root)
    else:
        assert checked.returncode == 0
    built = mlruntime(root, "build", RUNTIME, "--load")
    return Runtime(root=root, lock=read_lock(root), plan=plan_of(root), built=built)


@pytest.fixture
def shop(engine: Engine, store: Store, runtime: Runtime) -> Iterator[Workshop]:
    """A workshop for images that differ from the real one."""
    made = Workshop(
        store=store,
        fetch=fetcher(store).fetch_all,
        engine=cache(lambda: engine),
        say=lambda line: print(line, file=sys.stderr),
        images=Definitions(runtime.root).image_files(),
    )
    yield made
    made.clear()


def cold_store(warm: Store, plan: Plan, lock: Lock, root: Path) -> Store:
    """Return a store with every artifact and native wheel, but nothing made from them."""
    cold = Store(root)
    wanted = {artifact.sha256 for artifact in plan.artifacts}
    for wheel in lock.variant(plan.variant).native:
        built = native.built(warm, wheel)
        assert built is not None, f"{wheel.name} has not been built"
        wanted.add(built.sha256)
        key = native.record_key(wheel)
        record = warm.record_path("native", key).read_text(encoding="utf-8")
        cold.write_record("native", key, record)
    (root / "blobs" / "sha256").mkdir(parents=True)
    for sha256 in wanted:
        path = warm.blob(sha256)
        assert path is not None, sha256
        os.link(path, root / "blobs" / "sha256" / sha256)
    return cold
