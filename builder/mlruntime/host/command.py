"""Running host tools. The only module that starts subprocesses."""

import logging
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from mlruntime.errors import CommandFailed, Unavailable
from mlruntime.host.secrets import redacted

_LOG: Final = logging.getLogger(__name__)
# Seconds a tool gets to end after SIGTERM.
GRACE_SECONDS: Final = 5.0


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
    heard: Callable[[str], None] = lambda _: None,
) -> str:
    """Run a tool to its end and return its stdout as text.

    ``heard`` gets its stderr, without passwords in addresses, if the tool ends by itself. Raises
    ``CommandFailed``, with the last lines of stderr, when the tool exits other than 0, and when
    it takes longer than ``timeout`` seconds. Neither the tool nor its children stay running:
    they get SIGTERM, then SIGKILL.
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
            # So that Ctrl-C reaches only us, and ``_end`` reaches all children of the tool.
            process_group=0,
        )
    except OSError as error:
        raise CommandFailed(f"{words[0]} could not be started", why=error.strerror) from None
    with child:
        try:
            out, err = child.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            _end(child)
            raise CommandFailed(f"{words[0]} did not end within {timeout:.0f} s") from None
        except BaseException:
            _end(child)
            raise
    err = redacted(err)
    heard(err)
    _LOG.debug("%s: exit %d", shlex.join(words), child.returncode)
    if child.returncode != 0:
        tail = "\n       ".join(err.strip().splitlines()[-12:])
        raise CommandFailed(f"{words[0]} exited with {child.returncode}", why=tail or "no output")
    return out


def replace_process(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Become another program, found by the ``PATH`` of ``env``: its exit code becomes ours.

    Raises ``CommandFailed`` if it cannot be started.
    """
    program = shutil.which(argv[0], path=env.get("PATH"))
    try:
        os.execve(program or argv[0], list(argv), dict(env))
    except OSError as error:
        raise CommandFailed(f"{argv[0]} could not be started", why=error.strerror) from None


def _end(child: "subprocess.Popen[str]") -> None:
    """End the child, and whoever is left of its process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_SECONDS)
