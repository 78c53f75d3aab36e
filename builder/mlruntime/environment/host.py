"""Can this host run an environment at all? Its processor, its C library, a place for it."""

import stat
from pathlib import Path
from typing import Final

from mlruntime.errors import Unavailable, UsageError
from mlruntime.host.system import System

# What every artifact of a lock is made for: Debian's amd64, the wheels' x86_64.
MACHINE: Final = "x86_64"


def refuse_host(system: System, needed: str) -> None:
    """Raise ``Unavailable`` on a host that cannot run what is locked; ``needed`` is a glibc."""
    if not system.runs(MACHINE):
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
    if not system.has_glibc(needed):
        raise Unavailable(
            f"this host's glibc is {system.glibc}",
            why=f"what is locked needs {needed} or newer",
            hint="use a newer distribution, or the image: `mlruntime build`",
        )


def is_text(path: Path) -> bool:
    """Tell whether a path is UTF-8: only then can it be written into files and scripts."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_path(path: Path) -> None:
    """Raise ``UsageError`` for a path that no environment can be used at."""
    if ":" in str(path) or "\n" in str(path):
        raise UsageError(
            "an environment's path cannot have a colon or a line break",
            where=str(path),
            why="it becomes part of PATH, which has colons between its parts",
        )
    if not is_text(path):
        raise UsageError(
            "an environment's path must be UTF-8",
            where=ascii(str(path)),
            why="it is written into scripts and settings, which are UTF-8",
        )


def refuse_target(target: Path, *, is_environment: bool) -> None:
    """Raise ``UsageError`` for a path that no environment can be made at."""
    refuse_path(target)
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
