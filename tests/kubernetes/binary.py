"""The one program that is every part of the node, compiled from ``node/`` and kept.

``python -m tests.kubernetes.binary`` compiles it, which takes 11 minutes on two cores.
"""

import sys
from pathlib import Path
from typing import Final

from tests.go_programs import NotCompiledError, go_build, kept

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


def cached() -> Path:
    """Return the program's place: one for these sources and this Go. It need not be there."""
    return kept("kubernetes", "", (SOURCES / name for name in ("go.mod", "go.sum", "main.go")))


def found() -> Path:
    """Return the program, or raise ``NotCompiledError``."""
    path = cached()
    if not path.is_file():
        raise NotCompiledError("the node is not compiled: python -m tests.kubernetes.binary")
    return path


def build() -> Path:
    """Return the program; compile it first if it is not there."""
    return go_build(cached(), ["."], tags="grpcnotrace", flags=_FLAGS, cwd=SOURCES)


if __name__ == "__main__":
    try:
        print(build())
    except NotCompiledError as missing:
        sys.exit(str(missing))
