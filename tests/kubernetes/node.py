"""A Kubernetes node on this machine, in namespaces of its own, and what can be asked of it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.go_programs import NotCompiledError
from tests.kubernetes import binary, cgroups, images
from tests.kubernetes.configuration import PAUSE
from tests.kubernetes.init import READY

_CHECKOUT: Final = Path(__file__).parents[2]
_TOOLS: Final = ("containerd", "runc", "ctr", "ip", "nsenter", "unshare", "setpriv", "gcc")
_PLUGINS: Final = Path("/usr/lib/cni/bridge")
_CAPABILITIES: Final = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}


class CannotRunError(Exception):
    """Why no node can run on this machine."""


def must_be_able() -> Path:
    """Return the node's program; raise ``CannotRunError`` if it or what it needs is not there."""
    effective = next(
        int(line.split()[1], 16)
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff:")
    )
    for name, number in _CAPABILITIES.items():
        if os.geteuid() or not effective >> number & 1:
            raise CannotRunError(f"a Kubernetes node needs root with {name}")
    if not cgroups.hierarchies():
        raise CannotRunError("the node was tried with cgroup v1 only, and this machine has v2")
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=_path()) is None]
    if missing or not _PLUGINS.exists():
        what = [*missing, *([] if _PLUGINS.exists() else [str(_PLUGINS)])]
        raise CannotRunError(
            f"not installed: {', '.join(what)} (Debian: containerd containernetworking-plugins)"
        )
    try:
        return binary.found()
    except NotCompiledError as error:
        raise CannotRunError(str(error)) from None


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node that is ready. ``seconds`` from its start to each phase's end."""

    state: Path
    pid: int
    seconds: dict[str, float]

    @property
    def kubectl_path(self) -> Path:
        """Return a program that is ``kubectl`` as the node's administrator."""
        return self.state / "shell" / "kubectl"

    def kubectl(
        self, *words: str, stdin: str | None = None, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``kubectl``."""
        done = subprocess.run(
            [self.kubectl_path, *words], input=stdin, capture_output=True, text=True
        )
        if check:
            told = f"ended with {done.returncode}: {done.stdout}{done.stderr}"
            assert done.returncode == 0, f"kubectl {' '.join(words)} {told}"
        return done

    def get(self, *words: str) -> Any:
        """Return objects as they are."""
        return json.loads(self.kubectl("get", *words, "--output", "json").stdout)

    def load(self, archive: Iterator[bytes]) -> None:
        """Give the node an image: an archive of an OCI layout whose index names it."""
        socket = f"{self.state}/run/containerd.sock"
        command = ["ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ctr:
            assert ctr.stdin is not None
            for piece in archive:
                ctr.stdin.write(piece)
            ctr.stdin.close()
            ctr.wait()
        assert ctr.returncode == 0

    def logs(self) -> str:
        """Return the end of what each part has written."""
        return logs_of(self.state)


def logs_of(state: Path) -> str:
    """Return the end of each log of a node."""
    found = []
    for path in sorted((state / "log").glob("*.log")):
        lines = path.read_text(errors="replace").splitlines()[-12:]
        found.append("\n".join([f"--- {path.name}", *lines]))
    return "\n".join(found)


@contextmanager
def node(program: Path) -> Iterator[Node]:
    """Run a node; at the end nothing of it is left."""
    environment = os.environ | {"PATH": _path()}
    command = [sys.executable, "-m", "tests.kubernetes.supervisor", str(program)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_CHECKOUT,
        env=environment,
        start_new_session=True,
    ) as supervisor:
        assert supervisor.stdin is not None and supervisor.stdout is not None
        try:
            told = json.loads(supervisor.stdout.readline())
            made = _ready(Path(told["state"]), told["unshare"])
            made.load(images.pause(made.state, PAUSE))
            yield made
        finally:
            supervisor.stdin.close()
            supervisor.wait(300)  # two gigabytes of small files are removed


def _ready(state: Path, unshare: int) -> Node:
    ready = state / READY
    deadline = time.monotonic() + 90
    while not ready.exists():
        if not Path(f"/proc/{unshare}/exe").exists() or time.monotonic() > deadline:
            raise RuntimeError(f"the node did not start:\n{logs_of(state)}")
        time.sleep(0.05)
    children = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()
    made = Node(state=state, pid=int(children[0]), seconds=json.loads(ready.read_text()))
    _write_kubectl(made)
    return made


def _write_kubectl(made: Node) -> None:
    words: Sequence[object] = ("exec", "nsenter", "--net", "--target", made.pid,
                               made.state / "bin" / "kubectl")  # fmt: skip
    script = made.kubectl_path
    script.parent.mkdir()
    config = f': "${{KUBECONFIG:={made.state}/conf/admin.kubeconfig}}"\nexport KUBECONFIG'
    script.write_text(f'#!/bin/sh\n{config}\n{" ".join(map(str, words))} "$@"\n')
    script.chmod(0o755)
