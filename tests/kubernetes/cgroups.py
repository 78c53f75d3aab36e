"""The node's control groups: one of its name in each hierarchy of cgroup v1.

Where there is a hierarchy of v2 beside them, containers are in groups of the same name there.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """Return those of cgroup v1; none on a machine that has only v2."""
    return sorted(
        path
        for path in ROOT.glob("*")
        if (path / "cgroup.procs").is_file() and not (path / "cgroup.controllers").exists()
    )


def _all() -> list[Path]:
    return sorted(path.parent for path in ROOT.glob("*/cgroup.procs"))


def make(name: str) -> None:
    """Make the node's groups, and its pods': a kubelet would give those cores that are not there.

    Of ``cpuset``, a new group has nothing.
    """
    for hierarchy in hierarchies():
        for group in (hierarchy / name, hierarchy / name / "kubepods"):
            group.mkdir(exist_ok=True)
            for what in ("cpuset.cpus", "cpuset.mems"):
                if (hierarchy / what).exists():
                    (group / what).write_text((hierarchy / what).read_text())
            if (group / "cpu.shares").exists():  # else all pods together count as one process
                (group / "cpu.shares").write_text(str(1024 * (os.cpu_count() or 1)))


def named(prefix: str) -> set[str]:
    """Return the names of groups that begin with ``prefix``."""
    return {group.name for path in _all() for group in path.glob(f"{prefix}*")}


def remove(name: str, seconds: float = 10) -> None:
    """Remove them with all that is below them; their processes must have been killed."""
    deadline = time.monotonic() + seconds
    while left := [group for path in _all() for group in _tree(path / name)]:
        for group in left:
            with suppress(OSError):
                group.rmdir()
        if time.monotonic() > deadline:
            raise TimeoutError(f"control groups are still in use: {left[:3]}")
        time.sleep(0.05)


def _tree(top: Path) -> Iterator[Path]:
    if not top.is_dir():
        return
    with suppress(FileNotFoundError):
        for path in list(top.iterdir()):
            if path.is_dir():
                yield from _tree(path)
    yield top
