"""A Docker of today on both of its image stores, and Podman: the verbs that need an engine."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import RUNTIME, mlruntime
from tests.engines.conftest import Other

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.extra,
    pytest.mark.parametrize("other", ["containerd", "classic", "podman"], indirect=True),
]


def test_another_engine_builds_loads_and_runs_a_cluster(
    other: Other, definitions: Callable[[str], Path], tmp_path: Path
) -> None:
    root = definitions(RUNTIME)
    layout = tmp_path / "layout"
    here = mlruntime(root, "build", RUNTIME, "--variant", "cpu", "--output", str(layout))
    there = mlruntime(root, "build", RUNTIME, "--variant", "cpu", "--load", DOCKER_HOST=other.host)
    assert there["digest"] == here["digest"]
    name = here["digest"] if other.kind == "containerd" else here["image_id"]
    assert there["image_id"] == name
    assert there["sent"]
    again = mlruntime(root, "build", RUNTIME, "--variant", "cpu", "--load", DOCKER_HOST=other.host)
    assert (again["image_id"], again["sent"]) == (name, 0)

    program = tmp_path / "sum.py"
    program.write_text(
        textwrap.dedent("""
            from pyspark.sql import SparkSession

            spark = SparkSession.builder.getOrCreate()
            print("sum", spark.range(1000).selectExpr("sum(id)").first()[0])
        """)
    )
    try:
        verb(other, root, "cluster", "up", RUNTIME, "--name", "other", "--workers", "1")
        assert "sum 499500" in verb(other, root, "cluster", "submit", "other", str(program))
    finally:
        verb(other, root, "cluster", "down", "other")


def test_another_engine_passes_the_checks(other: Other, definitions: Callable[[str], Path]) -> None:
    root = definitions(RUNTIME)
    mlruntime(root, "build", RUNTIME, "--variant", "cpu", "--load", DOCKER_HOST=other.host)
    # Some are not run where the lock leaves a component out, which has an exit code of its own.
    report = mlruntime(root, "validate", RUNTIME, check=False, DOCKER_HOST=other.host)
    found = {check["name"]: check["status"] for check in report["checks"]}
    assert found["identity.image"] == "passed"
    assert set(found.values()) <= {"passed", "not-run"}


def verb(other: Other, root: Path, *words: str) -> str:
    """Run a verb on that engine; return what it wrote for people."""
    done = subprocess.run(
        [sys.executable, "-m", "mlruntime", "--root", str(root), *words],
        env=os.environ | {"DOCKER_HOST": other.host}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"mlruntime {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr
