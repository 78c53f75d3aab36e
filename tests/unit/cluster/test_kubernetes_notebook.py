"""`cluster notebook --on kubernetes`, with a `kubectl` that has answers for it."""

import json
import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.kubernetes.kubectl import Kubectl
from mlruntime.cluster.kubernetes.notebook import open_notebook, stop_notebook
from mlruntime.cluster.kubernetes.standing import KubernetesCluster
from mlruntime.cluster.notebook import NotebookOptions, OpenNotebook
from mlruntime.cluster.running import ClusterFailed
from mlruntime.definitions.files import Definitions
from mlruntime.engine import Mount
from mlruntime.errors import UsageError
from mlruntime.workflows.cluster.describing import cluster_templates

from tests.conftest import CHECKOUT

IMAGE = "registry.example.org/ml/6.0-ml@sha256:" + "a" * 64
TOKEN = "0123456789abcdef" * 3
POD = "c-notebook-x7k2p"
CLUSTER = KubernetesCluster(
    name="c",
    spec=ClusterSpec(
        image=IMAGE, limit=4 << 30, mounts=(Mount(source="d", target="/data", kind="volume"),)
    ),
    ready={},
)
# A job is there once it was created, until it is deleted.
PROGRAM = """#!/bin/sh
cd "{folder}"
shift 2
echo "$*" >>asked
case "$*" in
"get jobs "*) exec cat jobs ;;
"get pods "*) exec cat pods ;;
"create "*"--dry-run=server") cat >/dev/null; exit "$(cat refused)" ;;
"create "*) cat >created; cp made jobs ;;
"delete "*) cp none jobs ;;
"exec c-master-0 "*"jupyter-lab"*) exec cat jupyter ;;
"exec {pod} "*"/opt/entrypoint.sh health notebook") exit "$(cat unhealthy)" ;;
"exec {pod} "*"/opt/entrypoint.sh token") echo "http://localhost:8888/lab?token={token}" ;;
"logs {pod} "*) echo "its last words" ;;
esac
"""
pytestmark = pytest.mark.starts


@pytest.fixture
def kube(tmp_path: Path) -> Kubectl:
    program = tmp_path / "kubectl"
    program.write_text(PROGRAM.format(folder=tmp_path, pod=POD, token=TOKEN))
    program.chmod(0o755)
    told: dict[str, Any] = {
        "none": {"items": []}, "jobs": {"items": []}, "made": {"items": [job()]},
        "pods": {"items": [pod(running={})]}, "refused": 0, "unhealthy": 0,
    }  # fmt: skip
    for name, content in told.items():
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "jupyter").write_text("/opt/ml/bin/jupyter-lab\n")
    return Kubectl(program=str(program), environment=os.environ, namespace="ml")


def job(condition: str | None = None) -> Any:
    conditions = [{"type": condition, "status": "True"}] if condition else []
    return {"metadata": {"name": "c-notebook"}, "status": {"conditions": conditions}}


def pod(**state: Any) -> Any:
    container = {"restartCount": 0, "state": state}
    return {
        "metadata": {"name": POD, "labels": {}},
        "status": {"phase": "Running", "containerStatuses": [container]},
    }


def opened(kube: Kubectl, **options: Any) -> OpenNotebook:
    templates = cluster_templates(Definitions(CHECKOUT))
    return open_notebook(kube, CLUSTER, NotebookOptions(**options), templates)


def asked(tmp_path: Path, verb: str) -> list[str]:
    return [line for line in (tmp_path / "asked").read_text().splitlines() if line.startswith(verb)]


def test_it_is_a_job_and_its_token_is_in_the_address_only(kube: Kubectl, tmp_path: Path) -> None:
    found = opened(kube, directory="/data/me", settings={"spark.x": "$(y)"})
    assert found == OpenNotebook(
        address=f"http://localhost:8888/lab?token={TOKEN}",
        started=True,
        forward=f"kubectl --namespace ml port-forward pod/{POD} 8888",
    )
    text = (tmp_path / "created").read_text()
    assert TOKEN not in text + (tmp_path / "asked").read_text()
    (made,) = (one for one in yaml.safe_load_all(text) if one["kind"] == "Job")
    kubernetes_validate.validate(made, "1.34.0", strict=True)
    assert made["spec"]["backoffLimit"] > 0
    template = made["spec"]["template"]["spec"]
    assert template["restartPolicy"] == "OnFailure"
    (container,) = template["containers"]
    assert container["args"] == ["notebook", "--ServerApp.root_dir=/data/me"]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert "PYSPARK_SUBMIT_ARGS" not in environment
    (secret,) = (one for one in yaml.safe_load_all(text) if one["kind"] == "Secret")
    assert secret["stringData"]["spark.conf"] == "spark.x $(y)\n"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert made["metadata"]["labels"]["app.kubernetes.io/instance"] == "c"  # `down` removes it


def test_the_second_call_starts_nothing(kube: Kubectl, tmp_path: Path) -> None:
    opened(kube)
    created = len(asked(tmp_path, "create"))
    found = opened(kube, port=9000)
    assert not found.started
    assert found.address.startswith("http://localhost:9000/lab?")
    assert str(found.forward).endswith(" 9000:8888")
    with pytest.raises(UsageError, match="has a notebook server already"):
        opened(kube, directory="/data")
    assert len(asked(tmp_path, "create")) == created
    assert not asked(tmp_path, "delete")


def test_one_that_kubernetes_has_given_up_is_replaced(kube: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text(json.dumps({"items": [job("Failed")]}))
    assert opened(kube).started
    assert len(asked(tmp_path, "delete")) == 1


WAITS = {"reason": "CrashLoopBackOff", "message": "back-off 10s"}


@pytest.mark.parametrize("waits", [True, False])
def test_one_that_fails_is_removed(kube: Kubectl, tmp_path: Path, waits: bool) -> None:
    (tmp_path / "unhealthy").write_text("1")
    if waits:
        (tmp_path / "pods").write_text(json.dumps({"items": [pod(waiting=WAITS)]}))
    templates = cluster_templates(Definitions(CHECKOUT))
    times = iter([0.0, 10.0])
    with pytest.raises(ClusterFailed) as caught:
        open_notebook(kube, CLUSTER, NotebookOptions(), templates, clock=lambda: next(times),
                      ready=5)  # fmt: skip
    assert ("CrashLoopBackOff" if waits else "did not answer in time") in caught.value.what
    assert caught.value.why == ("back-off 10s" if waits else "its last words")
    (deleted,) = asked(tmp_path, "delete")
    # One that another process makes at this moment has another run, and stays.
    assert "io.mlruntime/job=c-notebook,io.mlruntime/run=" in deleted


def test_what_another_has_made_at_this_moment_stays(kube: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "refused").write_text("1")
    with pytest.raises(Exception, match="kubectl"):
        opened(kube)
    assert not asked(tmp_path, "delete")


def test_what_cannot_be_is_told_before_anything_is_made(kube: Kubectl, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="/home is in no volume"):
        opened(kube, directory="/home")
    (tmp_path / "jupyter").write_text("")
    with pytest.raises(UsageError, match="JupyterLab is not in the image") as caught:
        opened(kube)
    assert "--flavour notebook" in str(caught.value.hint)
    assert not asked(tmp_path, "create")


def test_it_is_stopped(kube: Kubectl, tmp_path: Path) -> None:
    opened(kube)
    stop_notebook(kube, CLUSTER)
    (deleted,) = asked(tmp_path, "delete")
    assert "io.mlruntime/job=c-notebook" in deleted
    with pytest.raises(UsageError, match="cluster c has no notebook server"):
        stop_notebook(kube, CLUSTER)
