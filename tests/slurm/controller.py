"""A SLURM with two nodes on this machine, in namespaces of its own, which end with this process."""

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CHECKOUT: Final = Path(__file__).parents[2]
_TOOLS: Final = ("munged", "slurmctld", "slurmd", "sbatch", "unshare", "nsenter", "setpriv", "ip",
                 "curl")  # fmt: skip
NODES: Final = ("n1", "n2")
_CONF: Final = """ClusterName=test
SlurmctldHost=localhost
AuthType=auth/munge
AuthInfo=socket={state}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={state}/state
SlurmdSpoolDir={state}/spool-%n
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd-%n.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
NodeName=n[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=2 RealMemory=8000
PartitionName=all Nodes=ALL Default=YES State=UP
"""


class CannotRunError(Exception):
    """Why no SLURM can run on this machine."""


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def must_be_able() -> None:
    """Raise ``CannotRunError`` if what a SLURM needs is not here."""
    if os.geteuid():
        raise CannotRunError("SLURM's nodes need root, to have namespaces of their own")
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=_path()) is None]
    if missing:
        raise CannotRunError(f"not installed: {', '.join(missing)} (Debian: slurm-wlm munge curl)")


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """A SLURM whose nodes are idle; ``pid`` is a process in its namespaces."""

    state: Path
    pid: int

    def run(
        self, *words: str, cwd: Path = Path("/"), **environ: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in its namespaces."""
        enter = ("nsenter", "--target", str(self.pid), "--net", "--uts", "--pid", "--mount")
        return subprocess.run(
            [*enter, f"--wdns={cwd}", *words], capture_output=True, text=True,
            env=_environment(self.state) | environ,
        )  # fmt: skip

    def logs(self) -> str:
        """Return the end of what each part has written."""
        return _logs(self.state)


def _environment(state: Path) -> dict[str, str]:
    return os.environ | {"PATH": _path(), "SLURM_CONF": f"{state}/slurm.conf"}


def _logs(state: Path) -> str:
    found = []
    for path in sorted(state.glob("*.log")):
        lines = path.read_text(errors="replace").splitlines()[-15:]
        found.append("\n".join([f"--- {path.name}", *lines]))
    return "\n".join(found)


@contextmanager
def slurm(state: Path) -> Iterator[Slurm]:
    """Run a SLURM for a block, with its files in an empty folder."""
    state.chmod(0o755)
    (state / "state").mkdir()
    (state / "slurm.conf").write_text(_CONF.format(state=state))
    key = state / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--uts", "--pid",
               "--fork", "--mount-proc", "--kill-child", sys.executable, "-m", "tests.slurm.init",
               str(state)]  # fmt: skip
    with (
        (state / "init.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=_CHECKOUT,
                         env=_environment(state)) as unshare,
    ):  # fmt: skip
        try:
            yield _ready(state, unshare)
        finally:
            unshare.kill()


def _ready(state: Path, unshare: "subprocess.Popen[bytes]") -> Slurm:
    deadline = time.monotonic() + 120
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
    while True:
        if unshare.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"SLURM did not start:\n{_logs(state)}")
        if found := children.read_text().split():
            made = Slurm(state=state, pid=int(found[0]))
            told = made.run("sinfo", "--noheader", "--Node", "--format=%N %t")
            if sorted(told.stdout.split()) == sorted([*NODES, *["idle"] * len(NODES)]):
                return made
        time.sleep(0.3)
