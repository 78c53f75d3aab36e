"""One node for all tests of a run, with the image on it."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import RUNTIME, mlruntime
from tests.kubernetes import images
from tests.kubernetes.node import CannotRunError, Node, must_be_able, node

REGISTRY = "registry.example.org/ml"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A node that has the image of a runtime under the name that files of a cluster have."""

    node: Node
    root: Path
    image: str
    runtime: str


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Node]:
    """Yield a node that is ready; skip, with the reason, where there can be none."""
    try:
        program = must_be_able()
    except CannotRunError as error:
        pytest.skip(str(error))
    with node(program) as made:
        print(f"the node was ready after {made.seconds}")
        yield made


@pytest.fixture(scope="session")
def loaded(
    kubernetes: Node,
    definitions: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Loaded:
    """Return the node with the image of a runtime on it."""
    runtime = getattr(request, "param", RUNTIME)
    root, layout = definitions(runtime), tmp_path_factory.mktemp("image") / "layout"
    mlruntime(root, "build", runtime, "--variant", "cpu", "--output", str(layout))
    image = f"{REGISTRY}/{runtime}@{images.digest(layout)}"
    begun = time.monotonic()
    kubernetes.load(images.archive(layout, image))
    print(f"the image was on the node after {time.monotonic() - begun:.1f} s")
    return Loaded(node=kubernetes, root=root, image=image, runtime=runtime)


@pytest.fixture
def namespace(loaded: Loaded, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield a namespace of this test's own, which is gone afterwards.

    Kubernetes' strictest standard for pods, `restricted`, is enforced in it.
    """
    name = request.node.name.removeprefix("test_").replace("_", "-").partition("[")[0][:50]
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    loaded.node.kubectl("create", "--filename", "-", stdin=json.dumps(made))
    _await_account(loaded.node, name)
    yield name
    try:
        loaded.node.kubectl("delete", "namespace", name, "--timeout=300s")
    except AssertionError as error:
        pytest.fail(f"{error}\n{loaded.node.logs()}")


def _await_account(node: Node, name: str) -> None:
    words = ("--namespace", name, "get", "serviceaccount/default", "configmap/kube-root-ca.crt")
    deadline = time.monotonic() + 30
    done: subprocess.CompletedProcess[str] = node.kubectl(*words, check=False)
    while done.returncode:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.1)
        done = node.kubectl(*words, check=False)
