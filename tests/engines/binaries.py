"""A Docker of today and its containerd, compiled from Go modules and kept.

``python -m tests.engines.binaries`` compiles them. Debian has a Docker that is years older, which
knows no other image store than its own.
"""

import sys
from pathlib import Path
from typing import Final

from tests.go_programs import NotCompiledError, go_build, kept

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


def cached() -> Path:
    """Return the programs' folder: one for these modules and this Go. It need not be there."""
    recipe = f"{_PACKAGES}{_TAGS}{_FLAGS}"
    return kept("docker", recipe, (MODULES / name for name in ("go.mod", "go.sum")))


def found() -> Path:
    """Return the programs' folder, or raise ``NotCompiledError``."""
    path = cached()
    if not path.is_dir():
        raise NotCompiledError("Docker is not compiled: python -m tests.engines.binaries")
    return path


def build() -> Path:
    """Return the programs' folder; compile them first if it is not there."""
    return go_build(cached(), _PACKAGES, tags=_TAGS, flags=_FLAGS, cwd=MODULES)


if __name__ == "__main__":
    try:
        print(build())
    except NotCompiledError as missing:
        sys.exit(str(missing))
