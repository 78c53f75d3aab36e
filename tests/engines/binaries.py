"""A Docker of today and its containerd, compiled from Go modules and kept.

``python -m tests.engines.binaries`` compiles them. Debian has a Docker that is years older, which
knows no other image store than its own.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.go_programs import cache

MODULES: Final = Path(__file__).parent / "programs"
# The code of Docker 29.0.
VERSION: Final = "29.0.0-moby-2.0.0-beta.1"
_PACKAGES: Final = (
    "github.com/moby/moby/v2/cmd/dockerd",
    "github.com/containerd/containerd/v2/cmd/containerd",
    "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
)
# What neither is asked for here: Kubernetes' interface, other file systems.
_TAGS: Final = (
    "no_cri no_devmapper no_zfs no_btrfs exclude_graphdriver_btrfs exclude_graphdriver_zfs "
    "no_embedded_containerd"
)
_FLAGS: Final = f"-s -w -X github.com/moby/moby/v2/dockerversion.Version={VERSION}"


class NotCompiledError(Exception):
    """Why there are no programs; what to do about it is part of the sentence."""


def cached() -> Path:
    """Return the programs' folder: one for these modules and this Go. It need not be there."""
    version = subprocess.run([_go(), "version"], capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256(f"{version}{_PACKAGES}{_TAGS}{_FLAGS}".encode())
    for name in ("go.mod", "go.sum"):
        digest.update((MODULES / name).read_bytes())
    return cache() / f"docker-{digest.hexdigest()[:16]}"


def found() -> Path:
    """Return the programs' folder, or raise ``NotCompiledError``."""
    path = cached()
    if not path.is_dir():
        raise NotCompiledError("Docker is not compiled: python -m tests.engines.binaries")
    return path


def build() -> Path:
    """Return the programs' folder; compile them first if it is not there."""
    path = cached()
    if path.is_dir():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        made = Path(work) / "made"
        made.mkdir()
        environment = os.environ | {"CGO_ENABLED": "0", "GOCACHE": f"{work}/go", "GOFLAGS": ""}
        command = [_go(), "build", "-trimpath", "-tags", _TAGS, "-ldflags", _FLAGS]
        subprocess.run(
            [*command, "-o", f"{made}/", *_PACKAGES], cwd=MODULES, env=environment, check=True
        )
        made.replace(path)
    return path


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise NotCompiledError("Go is not installed: its version tells where the programs are kept")
    return go


if __name__ == "__main__":
    try:
        print(build())
    except NotCompiledError as missing:
        sys.exit(str(missing))
