"""Who started a container: labels that survive a killed tool, and whether that tool still runs.

Everything this tool creates in an engine carries these labels. A process is known by its id,
its start time and the boot it belongs to, so a reused process id is never taken for the owner.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARK: Final = "mlruntime"
RUN: Final = "mlruntime.run"
ROLE: Final = "mlruntime.role"
# What is to outlive the process that made it says so by itself, or another thing of its run does.
KEPT: Final = "mlruntime.kept"
STARTER: Final = "mlruntime.starter"


@dataclass(frozen=True, kw_only=True, slots=True)
class OwningProcess:
    """One process of one host.

    ``host`` names the machine *and* the process namespace (so that a tool in a container that
    shares the engine's socket is never judged by our process table); ``started`` is in clock
    ticks after boot, as ``/proc/PID/stat`` gives it.
    """

    pid: int
    started: int
    boot: str
    host: str

    def labels(self, run: str) -> dict[str, str]:
        """Return the labels for something this process creates in run ``run``."""
        return {
            MARK: "1",
            RUN: run,
            "mlruntime.pid": str(self.pid),
            "mlruntime.started": str(self.started),
            "mlruntime.boot": self.boot,
            "mlruntime.host": self.host,
        }

    def starter(self, run: str) -> dict[str, str]:
        """Return the labels for something that is to outlive this process, once it is ``KEPT``."""
        return {
            MARK: "1",
            RUN: run,
            STARTER: f"{self.pid} {self.started} {self.boot} {self.host}",
        }


def current(proc: Path = Path("/proc")) -> OwningProcess:
    """Return this process."""
    pid = os.getpid()
    return OwningProcess(
        pid=pid, started=start_time(proc, pid) or 0, boot=_boot(proc), host=_host(proc)
    )


def kept_runs(labels: Iterable[Mapping[str, str]]) -> frozenset[str]:
    """Return the runs in which something is to be kept, of the labels of all things."""
    return frozenset(one[RUN] for one in labels if KEPT in one and RUN in one)


def abandoned(labels: Mapping[str, str], proc: Path = Path("/proc")) -> bool:
    """Tell whether these labels name a process of this host that is no longer there.

    Anything doubtful (another host, labels missing or unreadable) is not abandoned.
    """
    if STARTER in labels:
        return abandoned(_of_starter(labels), proc)
    if labels.get(MARK) != "1" or not labels.get("mlruntime.host"):
        return False
    if labels["mlruntime.host"] != _host(proc):
        return False
    try:
        pid, started = int(labels["mlruntime.pid"]), int(labels["mlruntime.started"])
    except (KeyError, ValueError):
        return False
    if labels.get("mlruntime.boot") != _boot(proc):
        return True
    return start_time(proc, pid) != started


def _of_starter(labels: Mapping[str, str]) -> dict[str, str]:
    keys = ("mlruntime.pid", "mlruntime.started", "mlruntime.boot", "mlruntime.host")
    words = labels[STARTER].split()
    return {MARK: labels.get(MARK, ""), **(dict(zip(keys, words, strict=False)))}


def start_time(proc: Path, pid: int) -> int | None:
    """Return a process's start time, or ``None`` when it is gone or only a zombie."""
    try:
        text = (proc / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The command's name is in parentheses and may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _boot(proc: Path) -> str:
    return (proc / "sys/kernel/random/boot_id").read_text().strip()


def _host(proc: Path) -> str:
    try:
        machine = Path("/etc/machine-id").read_text().strip()
    except OSError:
        machine = ""
    namespace = (proc / "self/ns/pid").readlink()
    return hashlib.sha256(f"{machine} {namespace}".encode()).hexdigest()[:16]
