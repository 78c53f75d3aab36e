"""The whole validation of the real image, as a user runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from mlruntime.engine import Engine
from mlruntime.host.gpus import (
    NoGpus,
)
from mlruntime.host.nvml import read_gpus
from mlruntime.validation.catalog import CHECKS

from tests.conftest import GPU_RUNTIME, RUNTIME, Runtime

pytestmark = pytest.mark.cluster


# A gpu image has all checks of the cpu image, and more.
@pytest.mark.parametrize(("name", "variant"), [(RUNTIME, "cpu"), (GPU_RUNTIME, "gpu")])
def test_every_check_of_the_real_image(
    name: str, variant: str, ready: Callable[..., Runtime], engine: Engine, tmp_path: Path
) -> None:
    line = ready(name, variant)
    before = {thing.id for thing in engine.owned()}
    junit, saved = tmp_path / "junit.xml", tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "mlruntime", "--root", str(line.root), "validate", line.name,
         "--variant", variant, "--workers", "2", "--junit", str(junit), "--report", str(saved),
         "--json"],
        stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert json.loads(saved.read_text()) == report
    statuses = {check["name"]: check["status"] for check in report["checks"]}
    errors = {c["name"]: c["error"] for c in report["checks"] if c["status"] == "failed"}
    assert errors == {}
    # Not run is what needs a component that the lock had to leave out, or a GPU where there is
    # none; nothing else.
    omitted = {omission.component for omission in line.lock.omitted}
    lacking = {*omitted, *(["gpu"] if isinstance(read_gpus(), NoGpus) else [])}
    not_run = {check for check, status in statuses.items() if status == "not-run"}
    assert {check.partition(".")[0] for check in not_run} <= lacking
    asked = {*dict(line.lock.components_of(variant)), *omitted}
    ours = {check.name for check in CHECKS if asked.issuperset(check.needs)}
    assert statuses.keys() == {"identity.image", *ours}
    assert done.returncode == (8 if not_run else 0)
    assert report["image"] == line.image
    assert report["manifest"] == line.built["digest"]
    assert report["lock"] == line.lock.digest
    cases = ElementTree.parse(junit).getroot().findall(".//testcase")
    assert len(cases) == len(statuses)
    assert [thing for thing in engine.owned() if thing.id not in before] == []
