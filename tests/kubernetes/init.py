"""The first process in the node's namespaces: ``python -m tests.kubernetes.init STATE``.

It hides what parts of a node would write on this machine, starts the parts one after the other,
and then waits until one of them ends; all others end with it, by the kernel's hand.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from tests.kubernetes import cgroups, configuration, dns

READY: Final = "ready.json"
# Kubernetes takes a machine of so many cores: programs of a small machine wait for each other, but
# all of them are scheduled.
CORES: Final = 16
_PRIVATE: Final = ("/run", "/var/lib", "/var/log", "/sys/devices/system/node",
                   "/sys/devices/system/cpu")  # fmt: skip
# A kubelet sets these for the whole machine, unless they are so already.
_TUNED: Final = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}


def main(state: Path) -> None:
    """Start the node; return when one of its parts has ended."""
    begun = time.monotonic()
    seconds: dict[str, float] = {}

    def done(phase: str) -> None:
        seconds[phase] = round(time.monotonic() - begun, 2)

    hide(state)
    write_unpigz(state / "tools")
    for command in configuration.interfaces():
        subprocess.run(command, check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    cgroups.make(state.name)
    running = _start(state, configuration.storage(state) | configuration.api_server(state))
    api = dns.Api(state / "pki")
    threading.Thread(target=dns.serve, args=(api,), daemon=True).start()
    _await("the API server", lambda: api.text("/readyz"))
    done("api")
    running |= _start(state, configuration.controllers(state))
    _await("the node", lambda: _node_is_ready(api))
    done("node")
    for thing in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
        _await(thing, partial(api.get, f"/api/v1/namespaces/default/{thing}"))
    done("account")
    written = state / f"{READY}.new"
    written.write_text(json.dumps(seconds))
    written.rename(state / READY)
    while True:  # orphans of containers come to us, too
        pid, code = os.wait()
        if pid in running:
            print(f"{running[pid]} ended: {code}", flush=True)
            return


def hide(state: Path) -> None:
    """Lay empty places over those of this machine that parts of a node write to."""
    _mount("--make-rshared", "/")
    for place in _PRIVATE:
        _mount("-t", "tmpfs", "tmpfs", place)
    for place in ("/run/netns", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers"):
        Path(place).mkdir(parents=True)
    cores = Path("/sys/devices/system/cpu")
    (cores / "online").write_text(f"0-{CORES - 1}")
    for core in range(CORES):
        topology = cores / f"cpu{core}" / "topology"
        topology.mkdir(parents=True)
        (topology / "core_id").write_text(str(core))
        (topology / "physical_package_id").write_text("0")
    for name, value in _TUNED.items():
        file = state / "run" / "sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(value))
        if Path("/proc/sys", name).exists():
            _mount("--bind", str(file), f"/proc/sys/{name}")


def write_unpigz(folder: Path) -> None:
    """Give containerd a program that unpacks layers several times as fast as it does itself."""
    folder.mkdir()
    script = folder / "unpigz"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -m isal.igzip "$@"\n')
    script.chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def _start(state: Path, commands: dict[str, list[str]]) -> dict[int, str]:
    started = {}
    for name, command in commands.items():
        with (state / "log" / f"{name}.log").open("w") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        started[process.pid] = name
        process.returncode = 0  # it is waited for with the orphans
    return started


def _await(what: str, asked: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError):
            if asked():
                return
        time.sleep(0.1)
    raise SystemExit(f"{what} was not there after 60 s")


def _node_is_ready(api: dns.Api) -> bool:
    nodes = api.get("/api/v1/nodes")["items"]
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for node in nodes
        for condition in node["status"].get("conditions", ())
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
