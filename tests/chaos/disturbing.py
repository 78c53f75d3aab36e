"""How each fault is done to a cluster of containers."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from mlruntime.engine import Container, Engine
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
    elif missing := [tool for tool in ("docker", "iptables", "nsenter") if not shutil.which(tool)]:
        why = f"this host has no {', '.join(missing)}"
    kinds = tuple(kind for kind in WEIGHTS if kind != "network" or not why)
    # What a container writes has no limit of its own: a full disk would be that of the whole host.
    return kinds, {"disk": "volumes have no limit here", **({"network": why} if why else {})}


def disturb(engine: Engine, cluster: str, fault: Fault) -> None:
    """Do it, and undo what does not end by itself; a node that is away just now is left alone."""
    node = "master" if fault.kind == "master" else f"worker-{fault.worker}"
    container = engine.container(f"mlr-{cluster}-{node}")
    try:
        if fault.kind in _PATTERNS:
            container.call([*_KILL, _PATTERNS[fault.kind]])
        elif fault.kind == "hang":
            container.call(["pkill", "-STOP", "java"])
            time.sleep(fault.lasts)
            container.call(["pkill", "-CONT", "java"])
        else:
            _cut_off(container, fault.lasts)
    except MlruntimeError as error:
        print(f"{fault.kind} of {node} was not possible: {error.what}", flush=True)


def _cut_off(container: Container, seconds: float) -> None:
    """Drop all packets from and to a container for a while."""
    words = ["docker", "inspect", "--format", "{{json .State.Pid}}", container.name]
    found = subprocess.run(words, capture_output=True, text=True)
    pid = json.loads(found.stdout or "0")
    if not pid:
        return
    table = ["nsenter", "--target", str(pid), "--net", "iptables", "--wait"]
    rules = (["INPUT", "!", "--in-interface", "lo"], ["OUTPUT", "!", "--out-interface", "lo"])
    for action in ("--insert", "--delete"):
        for rule in rules:
            subprocess.run([*table, action, *rule, "--jump", "DROP"], capture_output=True)
        if action == "--insert":
            time.sleep(seconds)


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
