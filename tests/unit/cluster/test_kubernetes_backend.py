"""What validation asks of pods, with a `kubectl` that runs on this host what a pod should run."""

import io
import json
import os
import queue
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cluster.kubernetes.backend import KubernetesClusters, RunningPods
from mlruntime.cluster.kubernetes.kubectl import Kubectl
from mlruntime.engine import ImageInfo

IMAGE = "registry.example.org/ml/6.0-ml@sha256:" + "a" * 64
OTHER = "registry.example.org/ml/6.0-ml@sha256:" + "b" * 64
# What follows `--` is run here; `get KIND` prints a file, `version` another.
PROGRAM = """#!/bin/sh
case "$3" in
    get) [ -e "{folder}/$4" ] && exec cat "{folder}/$4"
         echo "(Forbidden): User \\"u\\" cannot list resource \\"$4\\"" >&2; exit 1 ;;
    version) exec cat "{folder}/version" ;;
    logs) echo "the last line"; exit ;;
esac
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""
pytestmark = pytest.mark.starts


@pytest.fixture
def kube(tmp_path: Path) -> Kubectl:
    program = tmp_path / "kubectl"
    program.write_text(PROGRAM.format(folder=tmp_path))
    program.chmod(0o755)
    return Kubectl(program=str(program), environment=os.environ, namespace="ml")


@pytest.fixture
def running(kube: Kubectl) -> RunningPods:
    return RunningPods(
        kube=kube,
        name="c",
        driver="c-driver-x",
        image=IMAGE,
        driver_host="10.0.0.9",
        worker_hosts=("c-worker-0",),
    )


def pod(name: str, told: str = "", *, restarts: int = 0, **state: Any) -> Mapping[str, Any]:
    labels = {"app.kubernetes.io/instance": "c"}
    container = {
        "imageID": told, "ready": True, "restartCount": restarts, "state": state or {"running": {}},
    }  # fmt: skip
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"image": IMAGE}]},
        "status": {"phase": "Running", "containerStatuses": [container]},
    }


def given(kube: Kubectl, *found: Mapping[str, Any]) -> None:
    (Path(kube.program).parent / "pods").write_text(json.dumps({"items": found}))


def test_files_and_processes(running: RunningPods, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("a/b")
        entry.size = 300
        tar.addfile(entry, io.BytesIO(bytes(range(256)) + b"\0" * 44))
    running.put(str(tmp_path), buffer.getvalue())
    assert (tmp_path / "a" / "b").read_bytes()[:256] == bytes(range(256))

    process = running.run(["sh", "-c", "pwd; echo it >&2; exit 3"], workdir=str(tmp_path / "a"))
    items = [process.items.get(timeout=20) for _ in range(3)]
    assert sorted(map(str, items)) == sorted(
        map(str, [("stdout", str(tmp_path / "a")), ("stderr", "it"), 3])
    )


def lives(number: int) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except OSError:
        return False


def test_what_was_started_is_killed_with_its_children(running: RunningPods) -> None:
    process = running.run(["sh", "-c", "setsid sleep 300 & echo $!; wait"])
    _, number = process.items.get(timeout=20)  # type: ignore[misc]
    process.kill()
    assert isinstance(process.items.get(timeout=20), int)
    deadline = time.monotonic() + 20
    while lives(int(number)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(queue.Empty):
        process.items.get(timeout=0.1)


@pytest.mark.parametrize(
    ("told", "runs"),
    [
        ("registry.example.org/ml/6.0-ml@sha256:" + "a" * 64, IMAGE),
        ("mirror.example.org/ml@sha256:" + "a" * 64, IMAGE),
        ("sha256:" + "c" * 64, IMAGE),  # a node's own id; the name with a digest was accepted
        (OTHER, OTHER),
    ],
)
def test_the_image_of_each_pod(running: RunningPods, told: str, runs: str) -> None:
    given(running.kube, pod("c-master-0"), pod("c-driver-x", IMAGE), pod("c-worker-0", told))
    assert running.images() == {"10.0.0.9": IMAGE, "c-worker-0": runs}


def test_what_happened_to_a_pod(running: RunningPods) -> None:
    both = (pod("c-driver-x"), pod("c-worker-0"))
    given(running.kube, *both)
    assert running.casualty() is None
    given(running.kube, both[0])
    assert running.casualty() == ("pod c-worker-0 is gone", "")
    given(running.kube, both[0], pod("c-worker-0", restarts=1))
    assert running.casualty() == ("worker-0 was started again", "the last line\n")
    killed = {"exitCode": 137, "reason": "OOMKilled"}
    given(running.kube, pod("c-driver-x", terminated=killed), both[1])
    happened = running.casualty()
    assert happened and happened[0] == "driver-x exited with 137, out of memory"


def test_what_a_kubernetes_is(kube: Kubectl, tmp_path: Path) -> None:
    there = ImageInfo(
        id=IMAGE, tags=(), labels={}, size=0, user="", environment=(), diff_ids=()
    )  # fmt: skip
    place = KubernetesClusters(kube=kube, there=there, spark="3.5.9", templates={})
    node = {
        "status": {
            "capacity": {"cpu": "4", "memory": "2048Ki"},
            "nodeInfo": {"kernelVersion": "6.1"},
        }
    }
    (tmp_path / "version").write_text(json.dumps({"serverVersion": {"gitVersion": "v1.34.4"}}))
    (tmp_path / "nodes").write_text(json.dumps({"items": [node, node]}))
    info = place.info()
    assert (info.product, info.version, info.kernel) == ("Kubernetes", "v1.34.4", "6.1")
    assert (info.cpus, info.memory) == (8, 4 << 20)
    (tmp_path / "nodes").unlink()  # as for somebody who may not look at nodes
    assert (place.info().cpus, place.info().kernel) == (0, "unknown")
