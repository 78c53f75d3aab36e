"""What all tests share: where the runtime under test comes from.

The expensive things (store, layers, native wheels, the image) are made once per run, by the
same verbs a user types, and kept in the store that ``MLRUNTIME_STORE`` names.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from mlruntime.build.context import BuildContext
from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.native import build as native
from mlruntime.engine import Engine, connect
from mlruntime.image.plan import Plan
from mlruntime.lock.model import CORE, Lock
from mlruntime.store.store import Store
from mlruntime.workflows import locked
from mlruntime.workflows.planning import planned_image
from mlruntime.workflows.store.stores import fetcher, store_root

# A shell that starts us in the background has SIGINT ignored, nohup has SIGHUP, and so have all our
# children; the tests of signals would wait for ever.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

CHECKOUT = Path(__file__).parents[1]
# How long an example takes says how busy the machine is. The inputs are the same in each run, so
# that a failure in CI is about the change and not about luck.
settings.register_profile("whole", deadline=None, derandomize=True)
# A first answer, for `./dev test --fast`; the whole run, which CI does, tries more.
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=20)
# Other inputs in each run. Before a release, and after a reader of foreign bytes was changed:
# `./dev test --all`.
settings.register_profile("all", deadline=None, max_examples=10_000)
settings.load_profile(os.environ.get("MLRUNTIME_TEST_PROFILE", "whole"))
# The line that everything is tried on, and the lines whose images are built and proven.
RUNTIME = "6.0-ml"
RUNTIMES = ("6.0-ml", "7.0-ml")
# What the Maven repository that tests reach may lack.
OMITTED = ("graphframes", "spark-avro", "spark-kafka")
# The line whose gpu image is built and tried: each takes 16 GB of disk, and as good as all of it
# is about what the variants have not in common.
GPU_RUNTIME = "7.0-ml"


def mlruntime(root: Path, *words: str, check: bool = True, **environ: str) -> Any:
    """Run a verb in a process of its own; return what it printed as JSON."""
    command = [sys.executable, "-m", "mlruntime", "--root", str(root), *words, "--json"]
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


def relock(root: Path, runtime: str = RUNTIME) -> None:
    """Lock anew; only what a registry does not have may be left out."""
    words = (word for component in OMITTED for word in ("--omit-unavailable", component))
    mlruntime(root, "lock", runtime, *words)


@dataclass(frozen=True)
class Runtime:
    """A locked runtime whose image is in the engine."""

    root: Path
    lock: Lock
    plan: Plan
    built: dict[str, Any]

    @property
    def name(self) -> str:
        return self.lock.runtime

    @property
    def python(self) -> str:
        """The interpreter's minor version."""
        return self.plan.python

    @property
    def image(self) -> str:
        return str(self.built["image_id"])


def read_lock(root: Path, runtime: str = RUNTIME) -> Lock:
    """Return what is locked of ``core``, the flavour that the tests build."""
    return locked.read_lock(Definitions(root), runtime).cut(CORE)


def plan_of(root: Path, runtime: str = RUNTIME, variant: str = "cpu") -> Plan:
    return planned_image(Definitions(root), read_lock(root, runtime), variant)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with connect() as connected:
        yield connected


@pytest.fixture(scope="session")
def store() -> Store:
    return Store(store_root())


@pytest.fixture(scope="session")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what gives a folder of definitions in which a runtime is freshly locked.

    That is the committed lock, or a new one when registries have moved on.
    """

    @cache
    def make(name: str) -> Path:
        root = copied(tmp_path_factory.mktemp("definitions"))
        checked = subprocess.run(
            [sys.executable, "-m", "mlruntime", "--root", str(root), "lock", name, "--check",
             "--registry"], stdout=subprocess.PIPE,
        )  # fmt: skip
        if checked.returncode == 4:
            relock(root, name)
        else:
            assert checked.returncode == 0
        return root

    return make


@pytest.fixture(scope="session")
def ready(definitions: Callable[[str], Path]) -> Callable[..., Runtime]:
    """Return what builds and loads a runtime, once in a run."""

    @cache
    def make(name: str, variant: str = "cpu") -> Runtime:
        root = definitions(name)
        built = mlruntime(root, "build", name, "--variant", variant, "--load")
        lock, plan = read_lock(root, name), plan_of(root, name, variant)
        return Runtime(root=root, lock=lock, plan=plan, built=built)

    return make


@pytest.fixture(scope="session")
def runtime(ready: Callable[..., Runtime]) -> Runtime:
    """Return the runtime that everything is tried on."""
    return ready(RUNTIME)


@pytest.fixture(scope="session", params=RUNTIMES)
def line(request: pytest.FixtureRequest, ready: Callable[..., Runtime]) -> Runtime:
    """Return each runtime in turn."""
    return ready(request.param)


@pytest.fixture(scope="session")
def gpu(ready: Callable[..., Runtime]) -> Runtime:
    """Return the gpu variant that is tried."""
    return ready(GPU_RUNTIME, "gpu")


@pytest.fixture
def shop(engine: Engine, store: Store, runtime: Runtime) -> Iterator[BuildContext]:
    """A context for images that differ from the real one."""
    made = BuildContext(
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
