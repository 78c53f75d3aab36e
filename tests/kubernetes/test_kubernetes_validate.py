"""`mlruntime validate --on kubernetes`: the checks of an image, in pods."""

import json
import subprocess
import sys

import pytest

from tests.kubernetes.conftest import Loaded
from tests.kubernetes.test_kubernetes_cluster import environment, left

pytestmark = [pytest.mark.cluster, pytest.mark.kubernetes, pytest.mark.extra]

ONLY = ("identity", "image.defaults", "spark.join", "spark.parquet", "barrier", "horovod.allreduce",
        "horovod.keras", "horovodrunner.equivalence", "horovodrunner.local")  # fmt: skip


def test_checks_run_in_pods(loaded: Loaded, namespace: str) -> None:
    chosen = [word for name in ONLY for word in ("--only", name)]
    done = subprocess.run(
        [sys.executable, "-m", "mlruntime", "--root", str(loaded.root), "validate",
         loaded.runtime, "--on", "kubernetes", "--namespace", namespace, "--image", loaded.image,
         "--json", *chosen],
        env=environment(loaded), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 8, done.stdout + done.stderr
    report = json.loads(done.stdout)
    found = {check["name"]: (check["status"], check["error"]) for check in report["checks"]}
    assert len(found) > 10
    not_run = {name: why for name, (status, why) in found.items() if status == "not-run"}
    assert not_run.keys() == {"identity.image", "spark.parquet"}, not_run
    assert "the registry does not say" in str(not_run["identity.image"])
    bad = {name: one for name, one in found.items() if one[0] not in ("passed", "not-run")}
    assert not bad, done.stderr
    assert report["place"] == f"Kubernetes, namespace {namespace}"
    assert report["image"] == loaded.image
    assert not left(loaded, namespace)
