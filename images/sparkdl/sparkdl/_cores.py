"""How many cores this process may use: by its affinity, and by the quotas of its containers."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def available(root: Path = Path("/")) -> int:
    """Return the number of cores; of a quota a part of one counts as one, as in Java.

    ``root`` is where ``/proc`` and ``/sys`` are.
    """
    quotas = [math.ceil(quota) for quota in _quotas(root)]
    return max(1, min([len(os.sched_getaffinity(0)), *quotas]))


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quotas that apply, in cores, of both versions of control groups."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            for folder in _upwards(root / "sys/fs/cgroup", group):
                quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
                yield from _quota(quota, period)
        elif "cpu" in controllers.split(","):
            for folder in _upwards(root / "sys/fs/cgroup/cpu", group):
                quota = _text(folder / "cpu.cfs_quota_us")
                yield from _quota(quota, _text(folder / "cpu.cfs_period_us"))


def _upwards(top: Path, group: str) -> Iterator[Path]:
    """Yield a group's folder and all above it.

    A container that sees the host's names of groups has its own group mounted as the top.
    """
    folder = top / group.strip("/")
    while folder != top and top in folder.parents:
        yield folder
        folder = folder.parent
    yield top


def _quota(quota: str, period: str) -> Iterator[float]:
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or there is no such file
        return
    if cores > 0:
        yield cores


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
