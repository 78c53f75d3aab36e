"""Runs in a node's container: prints what of a run is there, as JSON."""

import json
import os
import sys
from pathlib import Path
from typing import Any


def processes() -> dict[str, list[int]]:
    """Return the ranks, keepers, Python workers and executors that live here."""
    found: dict[str, list[int]] = {"ranks": [], "keepers": [], "workers": [], "executors": []}
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid, parent, session = int(path.name), int(fields[1]), int(fields[3])
        if fields[0] == "Z":
            continue
        if "sparkdl._keeper" in command:
            found["ranks" if session == pid else "keepers"].append(pid)
        elif "pyspark.daemon" in command or "pyspark/daemon" in command:
            try:
                above = Path(f"/proc/{parent}/cmdline").read_bytes()
            except OSError:
                above = b""
            if b"daemon" in above:
                found["workers"].append(pid)
        elif "CoarseGrainedExecutorBackend" in command:
            found["executors"].append(pid)
    return found


def listening() -> list[int]:
    """Return the ports on which something waits for connections."""
    found = []
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == "0A":
                found.append(int(local.rpartition(":")[2], 16))
    return sorted(found)


def held(pids: list[int]) -> list[list[int]]:
    """Return how many descriptors are open in these processes, and how many threads there are."""
    found = []
    for pid in pids:
        try:
            both = [len([*Path(f"/proc/{pid}/{one}").iterdir()]) for one in ("fd", "task")]
        except OSError:
            continue
        found.append(both)
    return sorted(found)


def large_files(least: int) -> list[str]:
    """Return files of at least this size that are in /tmp."""
    found = []
    for folder, _, names in os.walk("/tmp"):
        for name in names:
            path = Path(folder) / name
            try:
                if path.stat().st_size >= least:
                    found.append(str(path))
            except OSError:
                continue
    return found


if __name__ == "__main__":
    found = processes()
    more: dict[str, Any] = {
        "large": large_files(int(sys.argv[1])),
        "ports": listening(),
        "shm": sorted(path.name for path in Path("/dev/shm").iterdir()),
        "held": held(found["keepers"]),
    }
    print(json.dumps({**found, **more}))
