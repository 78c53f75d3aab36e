"""`scale`, `shell` and `doctor` on a Kubernetes, with a `kubectl` that has answers for it."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.kubernetes.jobs import CONTAINER, beside
from mlruntime.cluster.kubernetes.kubectl import Kubectl
from mlruntime.cluster.kubernetes.nodes import ask_pods
from mlruntime.cluster.kubernetes.scaling import scale
from mlruntime.cluster.kubernetes.standing import KubernetesCluster
from mlruntime.cluster.nodes import compare
from mlruntime.cluster.running import ClusterFailed
from mlruntime.definitions.files import Definitions
from mlruntime.errors import CommandFailed, Unavailable
from mlruntime.workflows.cluster.describing import cluster_templates

from tests.conftest import CHECKOUT

IMAGE = "registry.example.org/ml/6.0-ml@sha256:" + "a" * 64
OTHER = "registry.example.org/ml/6.0-ml@sha256:" + "b" * 64
FORBIDDEN = (
    'Error from server (Forbidden): pods "c-master-0" is forbidden: User "u" cannot create '
    'resource "pods/exec" in API group "" in the namespace "ml"'
)
# Pods and what the master says follow the number of workers that was asked for last.
PROGRAM = """#!/bin/sh
cd "{folder}"
shift 2
echo "$*" >>asked
case "$*" in
"get pods "*) exec cat "pods-$(cat replicas)" ;;
"get events "*) exec cat events ;;
"get statefulsets,jobs "*) exec cat owners ;;
"scale "*) echo "${{3#--replicas=}}" >replicas ;;
"create "*) cat >created ;;
"exec "*" --stdin --tty -- /opt/entrypoint.sh pyspark") exit 5 ;;
"exec c-master-0 "*"/json/") exec cat "master-$(cat replicas)" ;;
"exec "*) exec cat "told-$2" || exit 1 ;;
esac
"""
FACTS: dict[str, Any] = {
    "python": "3.11.2", "java": "17.0.12", "user": 1000, "settings": "abc", "mtu": [1450],
    "driver": "", "clock": 100.0, "reach": {"c-master": ""}, "slow": [],
}  # fmt: skip
pytestmark = pytest.mark.starts


@pytest.fixture
def kube(tmp_path: Path) -> Kubectl:
    program = tmp_path / "kubectl"
    program.write_text(PROGRAM.format(folder=tmp_path))
    program.chmod(0o755)
    for workers in range(5):
        nodes = ["c-master-0", *(f"c-worker-{n}" for n in range(workers))]
        _write(tmp_path, f"pods-{workers}", {"items": [pod(name) for name in nodes]})
        found = {"aliveworkers": workers, "cores": workers, "coresused": 0, "activeapps": []}
        _write(tmp_path, f"master-{workers}", found)
    _write(tmp_path, "replicas", 2)
    _write(tmp_path, "events", {"items": []})
    _write(tmp_path, "owners", {"items": [{"metadata": {"uid": "workers"}}]})
    return Kubectl(program=str(program), environment=os.environ, namespace="ml")


def _write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content))


def pod(name: str, *, job: str = "", told: str = IMAGE, **state: Any) -> Mapping[str, Any]:
    component = "job" if job else name.split("-")[1]
    labels = {"app.kubernetes.io/instance": "c", "app.kubernetes.io/component": component}
    if job:
        labels["io.mlruntime/job"] = job
    container = {
        "imageID": told, "ready": True, "restartCount": 0, "state": state or {"running": {}},
    }  # fmt: skip
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": component, "image": IMAGE}]},
        "status": {"phase": "Running", "containerStatuses": [container]},
    }


def cluster(workers: int = 2) -> KubernetesCluster:
    return KubernetesCluster(name="c", spec=ClusterSpec(image=IMAGE, workers=workers), ready={})


def asked(tmp_path: Path, verb: str) -> list[str]:
    return [line for line in (tmp_path / "asked").read_text().splitlines() if line.startswith(verb)]


def event(version: str, message: str = "no") -> Mapping[str, Any]:
    return {
        "metadata": {"resourceVersion": version},
        "involvedObject": {"uid": "workers"},
        "message": message,
    }


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_scaling_waits_for_pods_and_for_the_master(
    kube: Kubectl, tmp_path: Path, workers: int
) -> None:
    assert scale(kube, cluster(), workers) == tuple(range(workers))
    assert asked(tmp_path, "scale") == [f"scale statefulset/c-worker --replicas={workers}"]


def test_workers_that_go_are_waited_for(kube: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "pods-1").write_text((tmp_path / "pods-2").read_text())
    said: list[str] = []
    times = iter([0.0, 0.0, 10.0])
    with pytest.raises(ClusterFailed, match="was not ready in time"):
        scale(kube, cluster(), 1, say=said.append, ready=5, clock=lambda: next(times))
    assert said == ["waiting for 1 pods to end"]
    # Which of them have ended by now, nobody knows: what was asked for stays so.
    assert asked(tmp_path, "scale") == ["scale statefulset/c-worker --replicas=1"]


def test_new_workers_for_which_there_is_no_quota_are_given_up(
    kube: Kubectl, tmp_path: Path
) -> None:
    """What an earlier attempt was told does not count."""
    (tmp_path / "pods-3").write_text((tmp_path / "pods-2").read_text())
    said = "exceeded quota: small, requested: limits.memory=4Gi, limited: limits.memory=5Gi"
    _write(tmp_path, "events", {"items": [event("1", said)]})
    times = iter([0.0, 10.0])
    with pytest.raises(ClusterFailed, match="was not ready in time: 3 of 4 pods are"):
        scale(kube, cluster(), 3, ready=5, clock=lambda: next(times))
    assert asked(tmp_path, "scale")[-1] == "scale statefulset/c-worker --replicas=2"

    program = Path(kube.program)
    new = json.dumps({"items": [event("2", said)]})
    program.write_text(
        program.read_text().replace('"scale "*)', f"\"scale \"*) echo '{new}' >events;")
    )
    with pytest.raises(Unavailable, match="quota small of the namespace is too small"):
        scale(kube, cluster(), 3)
    assert asked(tmp_path, "scale")[-1] == "scale statefulset/c-worker --replicas=2"


def test_a_shell_has_a_pod_of_its_own_which_goes(kube: Kubectl, tmp_path: Path) -> None:
    running = pod("c-job-x", job="c-job-x")
    _write(tmp_path, "pods-2", {"items": [running]})
    templates = cluster_templates(Definitions(CHECKOUT))
    with beside(kube, cluster(), templates) as name:
        assert name == "c-job-x"
        created = (tmp_path / "created").read_text()
        assert 'args: ["sleep", "infinity"]' in created
        code = kube.interact(name, CONTAINER, ["/opt/entrypoint.sh", "pyspark"])
    assert code == 5
    (deleted,) = asked(tmp_path, "delete")
    job = deleted.partition("io.mlruntime/job=")[2].split()[0]
    assert job.startswith("c-job-") and f"name: {job}" in created


def test_a_shell_that_does_not_start_leaves_nothing(kube: Kubectl, tmp_path: Path) -> None:
    waits = {"reason": "ImagePullBackOff", "message": "no such image"}
    _write(tmp_path, "pods-2", {"items": [pod("c-job-x", job="c-job-x", waiting=waits)]})
    templates = cluster_templates(Definitions(CHECKOUT))
    with (
        pytest.raises(ClusterFailed, match="ImagePullBackOff"),
        beside(kube, cluster(), templates),
    ):
        pytest.fail("it has no pod")
    assert len(asked(tmp_path, "delete")) == 1


def tell(tmp_path: Path, names: Sequence[str], **facts: Any) -> None:
    for name in names:
        _write(tmp_path, f"told-{name}", {**FACTS, **facts})


def test_pods_that_agree(kube: Kubectl, tmp_path: Path) -> None:
    tell(tmp_path, ["c-master-0", "c-worker-0", "c-worker-1"])
    told, silent = ask_pods(kube, cluster())
    assert [one.node for one in told] == ["master-0", "worker-0", "worker-1"]
    assert {one.properties["image"] for one in told} == {IMAGE}
    assert not silent
    # The recorded clock is that of long ago; nothing else differs.
    assert all("the clock of" in finding.what for finding in compare(told))


def test_pods_that_differ_are_silent_or_not_there(kube: Kubectl, tmp_path: Path) -> None:
    nodes = [
        pod("c-master-0"),
        pod("c-worker-0"),
        pod("c-worker-1", told=OTHER),
        pod("c-worker-2", waiting={"reason": "ImagePullBackOff"}),
    ]
    _write(tmp_path, "pods-2", {"items": nodes})
    tell(tmp_path, ["c-master-0", "c-worker-0", "c-worker-1"])
    told, silent = ask_pods(kube, cluster(workers=4))
    assert [finding.what for finding in silent] == [
        "worker-2 does not answer: it waits: ImagePullBackOff",
        "worker-3 does not answer: it has no pod",
    ]
    differs = [found.what for found in compare(told) if "image" in found.what]
    assert differs == [f"worker-1 has image {OTHER}, others {IMAGE}"]


def test_who_may_not_ask_pods_is_told_so(kube: Kubectl) -> None:
    program = Path(kube.program)
    refuses = f"\"exec \"*) echo '{FORBIDDEN}' >&2; exit 1;"
    program.write_text(program.read_text().replace('"exec "*) exec', refuses))
    with pytest.raises(Unavailable, match="u may not create pods/exec in namespace ml") as raised:
        ask_pods(kube, cluster())
    assert not isinstance(raised.value, CommandFailed)
