"""One program, unchanged, by `env run`, by `cluster submit`, with Compose and on Kubernetes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cluster.standing import CLUSTER
from mlruntime.engine import Engine

from tests.conftest import RUNTIME, Runtime, mlruntime
from tests.kubernetes.conftest import Loaded
from tests.same_numbers import differences
from tests.training_program import PROGRAM, computed, told

pytestmark = [pytest.mark.cluster, pytest.mark.extra]
NAME = f"test-{os.getpid()}-one"
_MLRUNTIME = (sys.executable, "-m", "mlruntime")
SIZE = ("--name", NAME, "--memory", "3g")


@pytest.fixture(scope="module")
def on_this_machine(
    definitions: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """Return what the program computes in an environment, without a cluster."""
    root, place = definitions(RUNTIME), tmp_path_factory.mktemp("environment") / "ml"
    mlruntime(root, "env", "create", RUNTIME, str(place))
    words = ("env", "run", str(place), "--", "python", str(PROGRAM))
    # As many slots as the program has ranks, however many processors this machine has.
    done = _run(*_MLRUNTIME, *words, PYSPARK_SUBMIT_ARGS="--master local[2] pyspark-shell")
    found = computed(told(done))
    # All are compared with this: so it must be right.
    assert found["count"] == 4950
    assert found["weights"] == pytest.approx({"0": found["expected"], "1": found["expected"]})
    return found


def _run(*words: str, cwd: Path | None = None, **environ: str) -> str:
    done = subprocess.run(
        words, cwd=cwd, env=os.environ | environ, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(words)} exited with {done.returncode}: {done.stdout}"
    return done.stdout


def test_in_containers(runtime: Runtime, engine: Engine, on_this_machine: Any) -> None:
    mlruntime(runtime.root, "cluster", "up", "--image", runtime.image, *SIZE)
    try:
        found = _run(*_MLRUNTIME, "cluster", "submit", NAME, str(PROGRAM))
    finally:
        mlruntime(runtime.root, "cluster", "down", NAME)
    assert list(differences(on_this_machine, computed(told(found)))) == []
    assert not engine.owned({CLUSTER: NAME})


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is not installed")
def test_with_compose(runtime: Runtime, on_this_machine: Any, tmp_path: Path) -> None:
    words = ("render", runtime.name, "--for", "compose", "--image", runtime.image, *SIZE)
    mlruntime(runtime.root, "cluster", *words, "--output", str(tmp_path))

    def compose(*words: str) -> str:
        return _run("docker-compose", "--project-name", NAME, *words, cwd=tmp_path)

    try:
        compose("up", "--detach")
        there = "/home/ml/train.py"
        found = compose("run", "--rm", f"--volume={PROGRAM}:{there}:ro", "job", "python", there)
    finally:
        compose("down", "--volumes")
    assert list(differences(on_this_machine, computed(told(found)))) == []


@pytest.mark.kubernetes
def test_on_kubernetes(loaded: Loaded, namespace: str, on_this_machine: Any) -> None:
    path = f"{loaded.node.kubectl_path.parent}:{os.environ['PATH']}"

    def cluster(verb: str, *words: str) -> str:
        where = ("--root", str(loaded.root), "cluster", verb, "--on", "kubernetes")
        return _run(*_MLRUNTIME, *where, "--namespace", namespace, *words, PATH=path)

    cluster("up", loaded.runtime, "--image", loaded.image, *SIZE)
    found = cluster("submit", NAME, str(PROGRAM))
    cluster("down", NAME)
    assert list(differences(on_this_machine, computed(told(found)))) == []
