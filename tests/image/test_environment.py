"""An environment of the runtime on this host: Spark and Horovod run in it, without a container."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlruntime.environment.interpreter import find_interpreter
from mlruntime.errors import Unavailable

from tests.conftest import Runtime, mlruntime

pytestmark = pytest.mark.engine
PROGRAM = Path(__file__).parent / "inside" / "environment.py"
# What a user has who has neither Java nor Spark: nothing of this test's own.
BARE = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}


@pytest.fixture(scope="module")
def environment(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    try:
        find_interpreter(runtime.python, os.environ, home=Path.home())
    except Unavailable as error:
        pytest.skip(str(error))
    root = tmp_path_factory.mktemp("with space") / "ml"
    mlruntime(runtime.root, "env", "create", runtime.name, str(root))
    yield root
    mlruntime(runtime.root, "env", "remove", str(root), "--force")


def said(root: Path, *words: str) -> dict[str, object]:
    program = '. "$0"; exec python "$@"'
    script = ["/bin/sh", "-c", program, str(root / "bin" / "activate"), str(PROGRAM), *words]
    done = subprocess.run(
        script, env=BARE, cwd=root.parent, stdout=subprocess.PIPE, text=True, timeout=300
    )
    assert done.returncode == 0
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_spark_runs_with_its_own_java_blas_and_defaults(environment: Path) -> None:
    found = said(environment, "spark")
    assert str(found["java"]).startswith(f"{environment}/usr/lib/jvm/")
    assert found["blas"] == "dev.ludovic.netlib.blas.JNIBLAS"
    assert f"{environment}/usr/lib/" in str(found["library"])
    assert found["sum"] == 499500
    assert found["timeout"] == "600"
    assert int(str(found["trusted"])) > 100


def test_horovodrunner_trains_on_two_processes(environment: Path) -> None:
    found = said(environment, "train")
    assert found["size"] == 2
    weights = [weight for row in found["weights"] for weight in row]  # type: ignore[attr-defined]
    assert all(abs(weight - 1) < 0.2 for weight in weights)
