"""The Dockerfile of an environment, built by Docker on a Debian with Python and nothing of ours."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlruntime.engine import Engine
from mlruntime.environment.interpreter import find_interpreter
from mlruntime.errors import Unavailable
from mlruntime.store.store import Store

from tests.benchmarks.bare_debian import give_base
from tests.conftest import Runtime, mlruntime

pytestmark = [pytest.mark.engine, pytest.mark.extra]
PROGRAM = Path(__file__).parent / "inside" / "environment.py"


@dataclass(frozen=True)
class Made:
    runtime: Runtime
    context: Path
    base: str
    image: str


@pytest.fixture(scope="module")
def made(
    runtime: Runtime, engine: Engine, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    try:
        find_interpreter(runtime.python, os.environ, home=Path.home())
    except Unavailable as error:
        pytest.skip(str(error))
    context = tmp_path_factory.mktemp("with space")
    name = uuid.uuid4().hex[:12]
    found = Made(
        runtime=runtime,
        context=context,
        base=f"mlruntime/test-base:{name}",
        image=f"mlruntime/test-dockerfile:{name}",
    )
    # What `python:3.11-slim` would bring, and `ps`.
    more = (f"python{runtime.python}", "procps")
    try:
        give_base(engine, store, runtime.plan, runtime.lock, found.base, more=more)
        words = ["--format", "dockerfile", "--output", str(context / "Dockerfile")]
        mlruntime(runtime.root, "env", "export", runtime.name, *words, "--base", found.base)
        built(found, found.image)
        yield found
    finally:
        for image in (found.image, found.base):
            subprocess.run(["docker", "rmi", image], capture_output=True)


def built(made: Made, image: str, *words: str) -> None:
    """Build with the classic builder, which every engine has; without a network."""
    command = ["docker", "build", "--force-rm", "--network", "none", "--tag", image]
    command += [*words, str(made.context)]
    environ = os.environ | {"DOCKER_BUILDKIT": "0"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def said(made: Made, *words: str, user: str = "") -> str:
    # Spark asks for the address of the host's name: without a network, only this one has any.
    command = ["docker", "run", "--rm", "--network", "none", "--hostname", "localhost"]
    command += ["--volume", f"{PROGRAM}:/program.py:ro", *(["--user", user] if user else [])]
    done = subprocess.run([*command, made.image, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_base_has_nothing_of_the_environment(made: Made) -> None:
    for word in ("java", "pip"):
        command = ["docker", "run", "--rm", "--entrypoint", "which", made.base, word]
        assert subprocess.run(command, capture_output=True).returncode == 1, word


def test_the_frameworks_import_and_spark_runs_with_its_own_java(made: Made) -> None:
    frameworks = "import tensorflow, keras, horovod.tensorflow, pyspark.ml, sparkdl"
    versions = "print(tensorflow.__version__, keras.__version__, pyspark.__version__)"
    answer = said(made, "python", "-c", f"{frameworks}; {versions}").split()
    lock = made.runtime.lock
    assert answer == [lock.component(name) for name in ("tensorflow", "keras", "spark")]
    spark = said(made, "python", "/program.py", "spark")
    assert '"java": "/opt/ml/usr/lib/jvm/' in spark
    assert "dev.ludovic.netlib.blas.JNIBLAS" in spark
    assert '"sum": 499500' in spark


def test_bytecode_is_there(made: Made) -> None:
    found = said(made, "python", "-c", "import keras; print(keras.__cached__)").strip()
    assert said(made, "ls", found).strip() == found


def test_a_base_without_the_python_is_told(made: Made) -> None:
    command = ["docker", "build", "--force-rm", "--build-arg", "PYTHON=/bin/sh", str(made.context)]
    environ = os.environ | {"DOCKER_BUILDKIT": "0"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode != 0
    assert "/bin/sh is not a complete CPython" in done.stdout + done.stderr
