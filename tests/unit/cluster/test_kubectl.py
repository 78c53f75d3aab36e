"""What `kubectl` says when something is wrong, in words of ours; its messages are those of 1.34."""

import os
from pathlib import Path

import pytest
from mlruntime.cluster.kubernetes import pods
from mlruntime.cluster.kubernetes.kubectl import Kubectl, kubectl
from mlruntime.errors import CommandFailed, MlruntimeError, Unavailable, UsageError

FORBIDDEN = (
    'Error from server (Forbidden): error when creating "STDIN": secrets is forbidden: User '
    '"system:serviceaccount:r:default" cannot create resource "secrets" in API group "" in the '
    'namespace "r"'
)
QUOTA = (
    'pods "default-worker-0" is forbidden: exceeded quota: small, requested: limits.memory=4Gi, '
    "used: limits.memory=5Gi, limited: limits.memory=5Gi"
)


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """Return the place of a program that fails with what is in ``said``."""
    program = tmp_path / "kubectl"
    program.write_text(f'#!/bin/sh\ncat "{tmp_path}/said" >&2\nexit 1\n')
    program.chmod(0o755)
    return program


@pytest.mark.starts
@pytest.mark.parametrize(
    ("said", "kind", "what"),
    [
        ('Error from server (NotFound): namespaces "nosuch" not found', UsageError,
         "there is no namespace nosuch"),
        (FORBIDDEN, Unavailable,
         "system:serviceaccount:r:default may not create secrets in namespace ml"),
        ("Error from server (Forbidden): " + QUOTA, Unavailable,
         "quota small of the namespace is too small"),
        ('Error from server (AlreadyExists): error when creating "STDIN": secrets "a" already '
         "exists", UsageError, "namespace ml has secrets a already"),
        ('Error from server (AlreadyExists): error when creating "STDIN": statefulsets.apps "a" '
         "already exists", UsageError, "namespace ml has statefulsets a already"),
        ("Unable to connect to the server: dial tcp 127.0.0.1:1: connect: connection refused",
         Unavailable, "Kubernetes does not answer"),
        ("error: You must be logged in to the server (Unauthorized)", Unavailable,
         "Kubernetes does not answer"),
        ('Error from server (NotFound): pods "x" not found', UsageError,
         'Error from server (NotFound): pods "x" not found'),
        ("error: something else", CommandFailed, "exited with 1"),
    ],
)  # fmt: skip
def test_each_failure_says_what_it_is(
    failing: Path, said: str, kind: type[MlruntimeError], what: str
) -> None:
    (failing.parent / "said").write_text(said)
    kube = Kubectl(program=str(failing), environment=os.environ, namespace="ml")
    with pytest.raises(kind) as raised:
        kube.run("get", "pods")
    assert what in raised.value.what
    with pytest.raises(kind):
        list(kube.lines("logs", "x"))


def test_without_kubectl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="kubectl is not installed"):
        kubectl(os.environ)


def _pod(phase: str = "Running", **state: object) -> dict[str, object]:
    container = {"name": "job", "ready": False, "restartCount": 2, "state": state}
    return {
        "metadata": {"name": "team-a-worker-0"},
        "status": {"phase": phase, "containerStatuses": [container]},
    }


def test_what_pods_say() -> None:
    waits = _pod("Pending", waiting={"reason": "ImagePullBackOff", "message": "no such image"})
    found = pods.stuck([_pod(running={}), waits])
    assert found is not None
    assert found[:2] == ("pod team-a-worker-0 does not start: ImagePullBackOff", "no such image")
    assert pods.stuck([_pod("Pending", waiting={"reason": "ContainerCreating"})]) is None
    killed = _pod(terminated={"exitCode": 137, "reason": "OOMKilled"})
    assert pods.ended(killed) == (137, True)
    assert pods.status_of(killed, "job-1").state == "exited with 137, out of memory"
    assert pods.status_of(_pod(running={}), "worker-0").state == "is starting"
    assert pods.status_of(_pod(running={}), "worker-0").restarts == 2
    assert pods.ended(_pod(running={})) is None
    evicted = {"metadata": {"name": "x"}, "status": {"phase": "Failed"}}
    assert pods.ended(evicted) == (1, False)
    conditions = [{"type": "PodScheduled", "status": "False", "message": "1 Insufficient cpu."}]
    pending = {"metadata": {"name": "x"}, "status": {"phase": "Pending", "conditions": conditions}}
    assert pods.unscheduled([_pod(running={}), pending]) == "1 Insufficient cpu."
