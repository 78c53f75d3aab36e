"""What `mlruntime cluster render --for slurm` writes, submitted to a real SLURM with two nodes.

The jobs run in an environment: Debian has no Apptainer.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import RUNTIME, mlruntime
from tests.slurm.controller import NODES, CannotRunError, Slurm, must_be_able, slurm
from tests.training_program import PROGRAM, told

pytestmark = [pytest.mark.cluster, pytest.mark.extra]
IMAGE = f"registry.example.org/ml/{RUNTIME}@sha256:{'0' * 64}"  # no node pulls it

# Executors come one after the other; each has one core, and so one of two tasks at a time.
NODES_AND_FAIL = """
import os, sys, time
from pyspark.sql import SparkSession

def where(_):
    time.sleep(0.2)
    return os.environ["SLURMD_NODENAME"]

rows = SparkSession.builder.getOrCreate().sparkContext.parallelize(range(2), 2)
names = set()
while len(names) < 2:
    names.update(rows.map(where).collect())
print("on", sorted(names))
sys.exit(3)
"""


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    try:
        must_be_able()
    except CannotRunError as error:
        pytest.skip(str(error))
    with slurm(tmp_path_factory.mktemp("slurm")) as made:
        yield made


@pytest.fixture(scope="module")
def run(definitions: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what goes before a command to run it in an environment."""
    root, place = definitions(RUNTIME), tmp_path_factory.mktemp("environment") / "ml"
    mlruntime(root, "env", "create", RUNTIME, str(place))
    return f"{sys.executable} -m mlruntime env run {place} --"


@pytest.fixture
def batch(definitions: Callable[[str], Path], tmp_path: Path) -> Path:
    mlruntime(
        definitions(RUNTIME), "cluster", "render", RUNTIME, "--for", "slurm", "--name", "team-a",
        "--image", IMAGE, "--output", str(tmp_path), "--workers", "2", "--memory", "2g",
    )  # fmt: skip
    return tmp_path


def submitted(
    manager: Slurm, run: str, folder: Path, program: Path
) -> "subprocess.CompletedProcess[str]":
    """Submit a program; return how its job ended and what that wrote."""
    words = ("sbatch", "--wait", f"--output={folder}/job.log", "cluster.sbatch", str(program))
    done = manager.run(*words, cwd=folder, RUN=run)
    log = folder / "job.log"
    done.stdout = log.read_text() if log.exists() else f"{done.stderr}\n{manager.logs()}"
    return done


def left(manager: Slurm, folder: Path) -> list[str]:
    """Return what a job has left: files beside it and on nodes, processes, other jobs."""
    files = [*folder.glob(".spark-*"), *Path("/tmp").glob("spark-work-*")]
    running = manager.run("pgrep", "--list-name", "java").stdout.split()
    return [*map(str, files), *running, *manager.run("squeue", "--noheader").stdout.split()]


def test_a_training_in_an_allocation(manager: Slurm, run: str, batch: Path) -> None:
    done = submitted(manager, run, batch, PROGRAM)
    assert done.returncode == 0, done.stdout
    found = told(done.stdout)
    assert found["count"] == 4950
    assert [rank["rank"] for rank in found["ranks"]] == [0, 1]
    for rank in found["ranks"]:
        assert rank["weight"] == pytest.approx(found["expected"], rel=1e-5)
    # The cluster's own settings, and those of the environment.
    assert (found["authenticated"], found["arrow"]) == ("true", "true")
    assert left(manager, batch) == []


def test_a_job_ends_with_its_programs_exit_code_and_leaves_nothing(
    manager: Slurm, run: str, batch: Path
) -> None:
    program = batch / "fails.py"
    program.write_text(NODES_AND_FAIL)
    done = submitted(manager, run, batch, program)
    assert done.returncode == 3, done.stdout
    assert f"on {list(NODES)}" in done.stdout.splitlines(), done.stdout
    assert left(manager, batch) == []
