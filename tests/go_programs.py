"""Programs of other projects that tests run, compiled from their Go modules and kept."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


def cache() -> Path:
    """Return the folder that is kept between runs of the tests."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "mlruntime-tests"


def go_program(module: str) -> str:
    """Return a program by its module, ``HOST/PATH/NAME@VERSION``; skip the test without Go.

    It is compiled once for each version of it and of Go.
    """
    go = shutil.which("go")
    if go is None:
        pytest.skip(f"needs Go, to compile {module}")
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    name = module.partition("@")[0].rpartition("/")[2]
    digest = hashlib.sha256(f"{module}\n{version}".encode()).hexdigest()
    path = cache() / f"{name}-{digest[:16]}"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as work:
            subprocess.run([go, "install", module], check=True, env=os.environ | {"GOBIN": work})
            (Path(work) / name).replace(path)
    return str(path)
