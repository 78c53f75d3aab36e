"""A real image, built where there is no network at all, from what was exported elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Runtime, mlruntime

pytestmark = [pytest.mark.engine, pytest.mark.extra]


def unplugged(root: Path, store: Path, *words: str) -> Any:
    """Run a verb in a network namespace of its own, which has nothing but a loopback that is down.

    The engine is reached by its socket, which is a file.
    """
    verb = [sys.executable, "-m", "mlruntime", "--root", str(root), *words, "--json"]
    done = subprocess.run(
        ["unshare", "--net", *verb],
        env=os.environ | {"MLRUNTIME_STORE": str(store)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert done.returncode == 0, words
    return json.loads(done.stdout)


def test_a_whole_image_is_built_from_an_export_without_a_network(
    runtime: Runtime, tmp_path: Path
) -> None:
    """Every layer is made anew, and the image is the one that was built with a network."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("not run: only root may take the network from a process (unshare)")
    if not os.environ.get("DOCKER_HOST", "unix:").startswith("unix:"):
        pytest.skip("not run: the engine is reached by a network")
    carried, store = tmp_path / "carried", tmp_path / "store"
    exported = mlruntime(
        runtime.root, "store", "export", runtime.name, "--variant", "cpu", "--output", str(carried)
    )
    assert exported["uncompiled"] == []
    assert unplugged(runtime.root, store, "store", "import", str(carried))["known"] == 0
    shutil.rmtree(carried)
    assert unplugged(runtime.root, store, "lock", runtime.name, "--check")["stale"] == []
    built = unplugged(runtime.root, store, "build", runtime.name)
    assert not any(layer["cached"] for layer in built["layers"])
    assert built["digest"] == runtime.built["digest"]
