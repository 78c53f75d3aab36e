"""One engine of each kind, for as long as tests need it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.engines import binaries
from tests.go_programs import NotCompiledError
from tests.kubernetes import cgroups

_CHECKOUT: Final = Path(__file__).parents[2]
_NEEDED: Final = ("setpriv", "unshare", "nsenter", "ip", "iptables", "runc")
_PODMAN: Final = ("podman", "conmon")


@dataclass(frozen=True, kw_only=True)
class Other:
    """An engine, and how programs are told to use it."""

    kind: str
    state: Path
    pid: int

    @property
    def host(self) -> str:
        """Return what ``DOCKER_HOST`` has to be."""
        return f"unix://{self.state}/engine.sock"


@pytest.fixture(scope="session")
def other(request: pytest.FixtureRequest) -> Iterator[Other]:
    """Yield an engine of the kind that is the parameter; skip where there can be none."""
    kind: str = request.param
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    tools = (*_NEEDED, *(_PODMAN if kind == "podman" else ()))
    if missing := [tool for tool in tools if shutil.which(tool, path=path) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() or not cgroups.hierarchies():
        pytest.skip("engines are started by root, and were tried with cgroup v1 only")
    if kind != "podman":
        try:
            path = f"{binaries.found()}:{path}"
        except NotCompiledError as error:
            pytest.skip(str(error))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.engines.supervisor", kind],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_CHECKOUT,
        env=os.environ | {"PATH": path}, start_new_session=True,
    ) as supervisor:  # fmt: skip
        assert supervisor.stdin is not None and supervisor.stdout is not None
        try:
            told = json.loads(supervisor.stdout.readline())
            yield _ready(kind, Path(told["state"]), told["unshare"])
        finally:
            supervisor.stdin.close()
            supervisor.wait(300)


def _ready(kind: str, state: Path, unshare: int) -> Other:
    deadline = time.monotonic() + 120
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(f"{state}/engine.sock")
            break
        except OSError:
            log = (state / "log").read_text()
            assert Path(f"/proc/{unshare}/exe").exists(), f"{kind} did not start:\n{log[-4000:]}"
            assert time.monotonic() < deadline, f"{kind} does not answer:\n{log[-4000:]}"
            time.sleep(0.1)
    children = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()
    return Other(kind=kind, state=state, pid=int(children[0]))
