"""The whole validation of the real image, as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from builder.engine import Engine
from builder.validation.catalog import CHECKS
from tests.conftest import Runtime

pytestmark = pytest.mark.cluster


def test_every_check_of_the_real_image(line: Runtime, engine: Engine, tmp_path: Path) -> None:
    before = {thing.id for thing in engine.owned()}
    junit, saved = tmp_path / "junit.xml", tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "builder", "--root", str(line.root), "validate", line.name,
         "--workers", "2", "--junit", str(junit), "--report", str(saved), "--json"],
        stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert json.loads(saved.read_text()) == report
    statuses = {check["name"]: check["status"] for check in report["checks"]}
    errors = {c["name"]: c["error"] for c in report["checks"] if c["status"] == "failed"}
    assert errors == {}
    # Not run is what needs a component that the lock had to leave out; nothing else.
    omitted = {omission.component for omission in line.lock.omitted}
    assert {n.partition(".")[0] for n, s in statuses.items() if s == "not-run"} <= omitted
    asked = {*dict(line.lock.components), *omitted}
    ours = {check.name for check in CHECKS if asked.issuperset(check.needs)}
    assert statuses.keys() == {"identity.image", *ours}
    assert done.returncode == (8 if omitted else 0)
    assert report["image"] == line.image
    assert report["manifest"] == line.built["digest"]
    assert report["lock"] == line.lock.digest
    cases = ElementTree.parse(junit).getroot().findall(".//testcase")
    assert len(cases) == len(statuses)
    assert [thing for thing in engine.owned() if thing.id not in before] == []
