"""What `mlruntime cluster render --for kubernetes` writes, applied to a Kubernetes."""

import json
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.conftest import RUNTIMES, mlruntime
from tests.kubernetes.conftest import Loaded
from tests.training_program import PROGRAM, told

pytestmark = [pytest.mark.cluster, pytest.mark.kubernetes, pytest.mark.extra]

NAME: Final = "team-a"
EVERY_LINE: Final = pytest.mark.parametrize("loaded", RUNTIMES, indirect=True)
Kubectl = Callable[..., str]


@pytest.fixture
def kubectl(loaded: Loaded, namespace: str) -> Kubectl:
    """Return what runs ``kubectl`` in the test's namespace and returns what it printed."""

    def run(*words: str, stdin: str | None = None) -> str:
        return loaded.node.kubectl("--namespace", namespace, *words, stdin=stdin).stdout

    return run


@pytest.fixture
def rendered(loaded: Loaded, kubectl: Kubectl, tmp_path: Path) -> Path:
    """Return the folder of the files, with the program in a ConfigMap of the namespace."""
    mlruntime(
        loaded.root, "cluster", "render", loaded.runtime, "--for", "kubernetes", "--name", NAME,
        "--image", loaded.image, "--output", str(tmp_path), "--memory", "3g",
    )  # fmt: skip
    kubectl("create", "configmap", f"{NAME}-program", f"--from-file=main.py={PROGRAM}")
    return tmp_path


def finished(kubectl: Kubectl, job: str, seconds: float = 240) -> str:
    """Wait until a Job has ended and return what it printed; fail with it when it failed."""
    deadline = time.monotonic() + seconds
    while True:
        status = json.loads(kubectl("get", f"job/{job}", "--output", "json"))["status"]
        if status.get("succeeded"):
            return kubectl("logs", f"job/{job}")
        if status.get("failed") or time.monotonic() > deadline:
            pods = kubectl("get", "pods", "--output", "wide")
            events = kubectl("get", "events", "--sort-by=.lastTimestamp")
            said = kubectl("logs", "--tail=60", "--selector", f"job-name={job}")
            pytest.fail(f"{job}: {status}\n{pods}\n{events}\n{said}")
        time.sleep(0.5)


def trained_right(found: Any, hosts: str, begun: float) -> None:
    """Judge a training: both ranks have what one process would have, each on another pod."""
    print(
        f"first task {found['first task at'] - begun:.1f} s after the files were applied, ", end=""
    )
    print(f"all of it {time.time() - begun:.1f} s")
    assert found["count"] == 4950
    assert [rank["rank"] for rank in found["ranks"]] == [0, 1]
    assert len({rank["host"] for rank in found["ranks"]}) == 2
    for rank in found["ranks"]:
        assert rank["weight"] == pytest.approx(found["expected"], rel=1e-5)
        assert rank["uid"] == 1000
        assert rank["host"].startswith(hosts)
    assert (found["arrow"], found["authenticated"]) == ("true", "true")


@EVERY_LINE
def test_a_training_on_a_standalone_cluster(kubectl: Kubectl, rendered: Path) -> None:
    begun = time.time()
    _apply(kubectl, rendered, "secret", "standalone")
    for node in ("master", "worker"):
        kubectl("rollout", "status", f"statefulset/{NAME}-{node}", "--timeout=120s")
    print(f"master and workers were ready after {time.time() - begun:.1f} s")
    _apply(kubectl, rendered, "job")
    trained_right(told(finished(kubectl, f"{NAME}-job")), f"{NAME}-worker-", begun)


def _apply(kubectl: Kubectl, folder: Path, *names: str) -> None:
    for name in names:
        kubectl("apply", "--filename", str(folder / f"{name}.yaml"))


def _pods(kubectl: Kubectl) -> list[str]:
    found = json.loads(kubectl("get", "pods", "--output", "json"))["items"]
    return sorted(pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in found)


@EVERY_LINE
def test_a_training_in_client_mode(kubectl: Kubectl, rendered: Path) -> None:
    begun = time.time()
    _apply(kubectl, rendered, "secret", "native-settings", "native")
    printed = finished(kubectl, f"{NAME}-native")
    trained_right(told(printed), f"{NAME}-exec-", begun)
    assert told(printed)["executors at first"] == 2
    assert "Exception" not in printed, printed
    assert _pods(kubectl) == ["driver"]


@EVERY_LINE
def test_a_training_in_cluster_mode(kubectl: Kubectl, rendered: Path) -> None:
    begun = time.time()
    _apply(kubectl, rendered, "secret", "native-settings", "native-cluster")
    finished(kubectl, f"{NAME}-submit")
    printed = kubectl("logs", f"{NAME}-driver")
    trained_right(told(printed), f"{NAME}-exec-", begun)
    assert told(printed)["executors at first"] == 2
    assert "Exception" not in printed, printed
    assert _pods(kubectl) == ["driver", "submit"]


def test_executors_are_confined_and_their_description_has_no_secret(
    kubectl: Kubectl, rendered: Path
) -> None:
    _apply(kubectl, rendered, "secret", "native-settings", "native")
    deadline = time.monotonic() + 120
    while "executor" not in _pods(kubectl):
        assert time.monotonic() < deadline, kubectl("get", "pods")
        time.sleep(0.3)
    (first, *_) = json.loads(
        kubectl("get", "pods", "--selector", "app.kubernetes.io/component=executor", "-o", "json")
    )["items"]
    (container,) = first["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"] == "3Gi"
    secret = yaml.safe_load((rendered / "secret.yaml").read_text())["stringData"]
    assert b64decode(secret["encoded"]).decode() == secret["secret"]
    everything = kubectl("get", "pods,configmaps,jobs", "--output", "json")
    assert secret["secret"] not in everything
    assert secret["encoded"] not in everything
