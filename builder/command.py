"""Running host tools. The only module that starts subprocesses."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.errors import CommandFailed, Unavailable


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
) -> str:
    """Run a tool to its end and return its stdout as text.

    Raises ``CommandFailed`` with the last lines of its stderr when it exits other than 0 or
    takes longer than ``timeout`` seconds; the child is never left running.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, env=env, cwd=cwd, input=stdin, timeout=timeout, text=True, capture_output=True
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{words[0]} did not end within {timeout:.0f} s") from None
    except OSError as error:
        raise CommandFailed(f"{words[0]} could not be started", why=error.strerror) from None
    if done.returncode != 0:
        tail = "\n       ".join(done.stderr.strip().splitlines()[-12:])
        raise CommandFailed(
            f"{words[0]} exited with {done.returncode}", why=tail or "it said nothing"
        )
    return done.stdout
