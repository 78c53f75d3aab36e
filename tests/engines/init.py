"""The first process in an engine's namespaces: ``python -m tests.engines.init STATE KIND``.

It hides what an engine would write on this machine, starts the engine, and waits until it ends;
everything else of it ends with it then, by the kernel's hand.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

KINDS: Final = ("containerd", "classic", "podman")
_STORES: Final[dict[str, Any]] = {
    "containerd": {"features": {"containerd-snapshotter": True}},
    "classic": {"features": {"containerd-snapshotter": False}, "storage-driver": "overlay2"},
}
# Podman asks for higher limits than this machine may allow.
_LIMITS: Final = 'default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]'
_PODMAN: Final = f"""[containers]
{_LIMITS}
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
"""


def main(state: Path, kind: str) -> None:
    """Start the engine; return when it has ended."""
    for words in (("--make-rprivate", "/"), ("-t", "tmpfs", "tmpfs", "/run")):
        subprocess.run(["mount", *words], check=True)
    for place in ("/run/netns", "/run/lock"):
        Path(place).mkdir()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        if (path := Path("/proc/sys/net", switch)).exists():
            path.write_text("1")
    engine = subprocess.Popen(_podman(state) if kind == "podman" else _docker(state, kind))
    while os.wait()[0] != engine.pid:  # orphans of containers come to us, too
        pass


def _docker(state: Path, kind: str) -> list[str]:
    settings = {"userland-proxy": False, "cgroup-parent": f"/{state.name}", **_STORES[kind]}
    file = state / "daemon.json"
    file.write_text(json.dumps(settings))
    return ["dockerd", "--config-file", f"{file}", "--data-root", f"{state}/root", "--exec-root",
            "/run/docker", "--pidfile", "/run/docker.pid", "--host", f"unix://{state}/engine.sock",
            ]  # fmt: skip


def _podman(state: Path) -> list[str]:
    file = state / "containers.conf"
    file.write_text(_PODMAN)
    os.environ["CONTAINERS_CONF"] = str(file)
    return ["podman", "--root", f"{state}/root", "--runroot", "/run/containers",
            "--storage-driver", "overlay", "system", "service", "--time", "0",
            f"unix://{state}/engine.sock"]  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
