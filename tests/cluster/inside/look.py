"""Runs in a node's container: prints what of a run is there, as JSON."""

import json
import os
import sys
from pathlib import Path


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
    print(json.dumps({**processes(), "large": large_files(int(sys.argv[1]))}))
