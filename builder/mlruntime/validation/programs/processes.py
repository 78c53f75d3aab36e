"""Looking at the JVM behind a Python worker through ``/proc``."""

import os
from pathlib import Path


def java_pid() -> int:
    """Return the process id of the executor JVM that this Python worker belongs to."""
    pid = os.getpid()
    while pid > 1:
        if Path(f"/proc/{pid}/exe").resolve().name == "java":
            return pid
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        pid = int(status.rpartition(")")[2].split()[1])
    raise RuntimeError("no JVM among the ancestors of this process")


def java_executable() -> str:
    """Return the path of the java program that runs this worker's executor."""
    return str(Path(f"/proc/{java_pid()}/exe").resolve())


def mapped_files(pid: int) -> list[str]:
    """Return the path of every file mapped into a process."""
    lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()
    fields = [line.split(maxsplit=5) for line in lines]
    return sorted({field[5] for field in fields if len(field) == 6 and field[5].startswith("/")})


def environment(pid: int) -> dict[str, str]:
    """Return the environment a process was started with."""
    raw = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return dict(entry.split("=", 1) for entry in raw.split("\0") if "=" in entry)
