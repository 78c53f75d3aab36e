"""How each fault is done to a cluster of containers."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from mlruntime.cluster.standing import find
from mlruntime.engine import Engine
from mlruntime.errors import MlruntimeError

from tests.chaos.plan import WEIGHTS, Fault

_KILL: Final = ("pkill", "-9", "-f")
_PATTERNS: Final = {
    "executor": "CoarseGrainedExecutorBackend",
    "worker": "org.apache.spark.deploy.worker.Worker",
    "master": "org.apache.spark.deploy.master.Master",
}


def possible(engine: Engine) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Return which faults can be done here, and why the others cannot."""
    why = ""
    if engine.info().remote:
        why = "the engine is on another host"
    elif os.geteuid():
        why = "only root can cut off a container's network"
    elif missing := [tool for tool in ("iptables", "nsenter") if not shutil.which(tool)]:
        why = f"this host has no {', '.join(missing)}"
    kinds = tuple(kind for kind in WEIGHTS if kind != "network" or not why)
    # What a container writes has no limit of its own: a full disk would be that of the whole host.
    return kinds, {"disk": "volumes have no limit here", **({"network": why} if why else {})}


def disturb(engine: Engine, cluster: str, fault: Fault) -> None:
    """Do it, and undo what does not end by itself; a node that is away just now is left alone."""
    node = "master" if fault.kind == "master" else f"worker-{fault.worker}"
    try:
        thing = find(engine, cluster).nodes[node]
        container = engine.container(thing.id)
        if fault.kind in _PATTERNS:
            container.call([*_KILL, _PATTERNS[fault.kind]])
        elif fault.kind == "hang":
            container.call(["pkill", "-STOP", "java"])
            time.sleep(fault.lasts)
            container.call(["pkill", "-CONT", "java"])
        else:
            _cut_off(thing.id, fault.lasts)
    except MlruntimeError as error:
        print(f"{fault.kind} of {node} was not possible: {error.what}", flush=True)


def _cut_off(container: str, seconds: float) -> None:
    """Drop all packets from and to the container with this id for a while."""
    pid = _process_of(container)
    if pid is None:
        print(f"no process of container {container[:12]} was found", flush=True)
        return
    # The namespace is kept open: its processes may end meanwhile.
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        table = ["nsenter", f"--net=/proc/self/fd/{namespace.fileno()}", "iptables", "--wait"]
        rules = (["INPUT", "!", "--in-interface", "lo"], ["OUTPUT", "!", "--out-interface", "lo"])
        for action in ("--insert", "--delete"):
            for rule in rules:
                subprocess.run([*table, action, *rule, "--jump", "DROP"], check=True,
                               pass_fds=[namespace.fileno()])  # fmt: skip
            if action == "--insert":
                time.sleep(seconds)


def _process_of(container: str) -> int | None:
    """Return a process of a container, never one in this host's own network.

    It is found by its control group: an engine may count processes otherwise than this host.
    """
    own = Path("/proc/self/ns/net").readlink()
    for group in Path("/proc").glob("[0-9]*/cgroup"):
        with suppress(OSError):
            if container in group.read_text() and (group.parent / "ns/net").readlink() != own:
                return int(group.parent.name)
    return None


def in_the_background(
    run: tuple[Fault, ...], do: Callable[[Fault], None], clock: Callable[[], float]
) -> list[threading.Thread]:
    """Do each fault at its time, in a thread of its own, since some last."""
    begun = clock()

    def later(fault: Fault) -> None:
        time.sleep(max(begun + fault.seconds - clock(), 0))
        print(f"{fault.seconds:6.1f} s: {fault.kind}, worker {fault.worker}", flush=True)
        do(fault)

    threads = [threading.Thread(target=later, args=(fault,), daemon=True) for fault in run]
    for thread in threads:
        thread.start()
    return threads
