"""One combination through all stages of ``matrix explore``, with nothing replaced."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlruntime.engine import Engine
from mlruntime.matrix.parsing import parse_matrix

from tests.conftest import Runtime

pytestmark = pytest.mark.cluster
NAME = "tensorflow-2.15.1_horovod-0.28.1-mlr.3"


def test_evidence_of_a_combination_that_works(
    runtime: Runtime, engine: Engine, tmp_path: Path
) -> None:
    """The releases that the runtime has anyway: its Horovod need not be compiled again."""
    before = {thing.id for thing in engine.owned()}
    (runtime.root / "docs").mkdir(exist_ok=True)
    page = runtime.root / "docs" / "evidence.md"
    page.write_text("<!-- evidence -->\n<!-- /evidence -->\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mlruntime", "--root", str(runtime.root), "matrix", "explore",
         runtime.name, "--axis", "tensorflow=2.15.1", "--axis", "horovod=0.28.1+mlr.3",
         "--omit-unavailable", "graphframes", "--only", "horovod.built",
         "--state", str(tmp_path / "state"), "--write", "--json"],
        stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0
    (found,) = json.loads(done.stdout)["combinations"]
    assert (found["level"], found["failure"]) == ("cluster", None)
    assert found["checks"]["passed"] == ["horovod.built"]
    rules = parse_matrix((runtime.root / "matrix.yaml").read_text(), file="matrix.yaml").rules_by_id
    rule = rules["tensorflow-2.15-horovod"]
    assert rule.evidence == "cluster"
    assert found["image"] in rule.source
    kept = json.loads(
        (runtime.root / f"runtimes/6.0-ml/evidence/combinations/{NAME}.json").read_text()
    )
    assert kept["report"]["manifest"] == found["image"]
    assert "| 2.15.1 | 2.15.0 | 0.28.1+mlr.3 |" in page.read_text()
    # The lock of the runtime itself is as fresh as before: evidence is no fact.
    checked = [sys.executable, "-m", "mlruntime", "--root", str(runtime.root), "lock"]
    assert subprocess.run([*checked, runtime.name, "--check"]).returncode == 0
    assert [thing for thing in engine.owned() if thing.id not in before] == []
    assert not engine.tags("mlruntime/explore")
