"""The one program that is every part of the node, compiled from ``node/`` and kept.

``python -m tests.kubernetes.binary`` compiles it, which takes 12 minutes on two cores.
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

SOURCES: Final = Path(__file__).parent / "node"
_VERSION: Final = "k8s.io/component-base/version"
_FLAGS: Final = (
    f"-s -w -X {_VERSION}.gitVersion=v1.34.4 -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=34"
)
# The last word of a name by which the program is started says which part it is.
PARTS: Final = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kubectl",
)


class NotCompiledError(Exception):
    """Why there is no program; what to do about it is part of the sentence."""


def cached() -> Path:
    """Return the program's place: one for these sources and this Go. It need not be there."""
    go = _go()
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256(version.encode())
    for name in ("go.mod", "go.sum", "main.go"):
        digest.update((SOURCES / name).read_bytes())
    return cache() / f"kubernetes-{digest.hexdigest()[:16]}"


def found() -> Path:
    """Return the program, or raise ``NotCompiledError``."""
    path = cached()
    if not path.is_file():
        raise NotCompiledError("the node is not compiled: python -m tests.kubernetes.binary")
    return path


def build() -> Path:
    """Return the program; compile it first if it is not there. Go's own cache is not kept."""
    path = cached()
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        made = Path(work) / "node"
        environment = os.environ | {"CGO_ENABLED": "0", "GOCACHE": f"{work}/go", "GOFLAGS": ""}
        command = [_go(), "build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", _FLAGS]
        subprocess.run([*command, "-o", made, "."], cwd=SOURCES, env=environment, check=True)
        made.replace(path)
    return path


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise NotCompiledError("Go is not installed: its version tells where the program is kept")
    return go


if __name__ == "__main__":
    try:
        print(build())
    except NotCompiledError as missing:
        sys.exit(str(missing))
