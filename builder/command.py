"""Running host tools. The only module that starts subprocesses."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from builder.errors import CommandFailed, Unavailable

# How often a running tool is asked whether it should stop, and how long it may take to do so.
_POLL_SECONDS: Final = 0.2
_GRACE_SECONDS: Final = 5.0


def require(tool: str, *, hint: str) -> str:
    """Return the path of a host tool, or raise ``Unavailable`` with how to get it."""
    path = shutil.which(tool)
    if path is None:
        raise Unavailable(f"{tool} is not installed on this host", hint=hint)
    return path


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    stop: threading.Event | None = None,
) -> str:
    """Run a tool to its end and return its stdout as text.

    Raises ``CommandFailed`` with the last lines of its stderr when it exits other than 0, takes
    longer than ``timeout`` seconds, or somebody sets ``stop``. Neither the child nor what it
    started is left running, whatever happens: they get SIGTERM, then SIGKILL.
    """
    words = [str(word) for word in argv]
    try:
        child = subprocess.Popen(
            words,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Ctrl-C reaches us alone, and ``_end`` reaches all of its children.
            process_group=0,
        )
    except OSError as error:
        raise CommandFailed(f"{words[0]} could not be started", why=error.strerror) from None
    with child:
        try:
            out, err = _awaited(child, words[0], stdin, timeout, stop)
        except BaseException:
            _end(child)
            raise
    if child.returncode != 0:
        tail = "\n       ".join(err.strip().splitlines()[-12:])
        raise CommandFailed(
            f"{words[0]} exited with {child.returncode}", why=tail or "it said nothing"
        )
    return out


def _awaited(
    child: "subprocess.Popen[str]",
    name: str,
    stdin: str | None,
    timeout: float | None,
    stop: threading.Event | None,
) -> tuple[str, str]:
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        turn = left if stop is None else min(_POLL_SECONDS, left or _POLL_SECONDS)
        try:
            return child.communicate(stdin, timeout=turn)
        except subprocess.TimeoutExpired:
            stdin = None  # has been taken, and may not be given twice
            if stop is not None and stop.is_set():
                raise CommandFailed(f"{name} was interrupted") from None
            if deadline is not None and time.monotonic() >= deadline:
                raise CommandFailed(f"{name} did not end within {timeout:.0f} s") from None


def _end(child: "subprocess.Popen[str]") -> None:
    """End the child, and whoever is left of its process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE_SECONDS)
