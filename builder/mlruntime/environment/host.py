"""Can this host run an environment at all? Its processor, its C library, a place for it."""

import os
import platform
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.version import Version

from mlruntime.errors import Unavailable, UsageError

# What every artifact of a lock is made for: Debian's amd64, the wheels' x86_64.
MACHINE: Final = "x86_64"


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """A host's processor, and its GNU C library's version; ``""`` where it has another."""

    machine: str
    glibc: str

    @classmethod
    def here(cls) -> "System":
        """Return this host's."""
        try:
            name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        except (ValueError, OSError):  # not a name that this C library knows
            name, version = "", ""
        return cls(machine=platform.machine(), glibc=version if name == "glibc" else "")


def refuse_host(system: System, needed: str) -> None:
    """Raise ``Unavailable`` on a host that cannot run what is locked; ``needed`` is a glibc."""
    if system.machine != MACHINE:
        raise Unavailable(
            f"this host's processor is {system.machine}",
            why=f"everything in a lock is compiled for {MACHINE}",
            hint=f"use a host with {MACHINE}",
        )
    if not system.glibc:
        raise Unavailable(
            "this host's C library is not glibc",
            why="TensorFlow, Java and Horovod are linked with glibc; on Alpine it is musl",
            hint="use a distribution with glibc, or the image: `mlruntime build`",
        )
    if Version(system.glibc) < Version(needed):
        raise Unavailable(
            f"this host's glibc is {system.glibc}",
            why=f"what is locked needs {needed} or newer",
            hint="use a newer distribution, or the image: `mlruntime build`",
        )


def refuse_target(target: Path, *, is_environment: bool) -> None:
    """Raise ``UsageError`` for a path that no environment can be made at."""
    if ":" in str(target) or "\n" in str(target):
        raise UsageError(
            "an environment's path cannot have a colon or a line break",
            where=str(target),
            why="it becomes part of PATH, which has colons between its parts",
        )
    try:
        status = target.lstat()
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise UsageError("a part of the path is no directory", where=str(target)) from None
    if is_environment:
        raise UsageError(
            "there is an environment already",
            where=str(target),
            hint="check it with `mlruntime env verify`, or remove it with `mlruntime env remove`",
        )
    if not stat.S_ISDIR(status.st_mode) or any(target.iterdir()):
        raise UsageError(
            "this exists, and is no environment",
            where=str(target),
            why="nothing that is there already is overwritten",
            hint="name a path that does not exist",
        )
