"""Results on stdout, progress on stderr."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mlruntime.cli.logs import is_quiet
from mlruntime.errors import Unavailable


def emit(value: Any, text: str, as_json: bool) -> None:
    """Print a verb's result: ``value`` as JSON when asked for, else ``text``."""
    with writable():
        print(json.dumps(value, indent=2, ensure_ascii=False) if as_json else text)


def mb(size: int, width: int = 0) -> str:
    """Return a size of so many bytes in mb (of 10^6 bytes), at least so wide."""
    return f"{size / 1e6:{max(width - 3, 0) or ''}.1f} MB"


def flush() -> None:
    """Write what is still in stdout's buffer."""
    with writable():
        sys.stdout.flush()


@contextmanager
def writable() -> Iterator[None]:
    """Raise ``Unavailable`` if stdout cannot be written to, for example on a full disk."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        discard()
        raise Unavailable(
            "stdout cannot be written", why=problem.strerror, hint="the result is not complete"
        ) from None


def discard() -> None:
    """Discard the rest of stdout: its reader (``| head``) has ended."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(line: str) -> None:
    """Print a warning, with ``--quiet``, too: it is about the result, not about progress."""
    print(f"mlruntime: warning: {line}", file=sys.stderr, flush=True)


def say(line: str) -> None:
    """Print a line about progress, unless ``--quiet`` was given."""
    if is_quiet():
        return
    print(f"mlruntime: {line}", file=sys.stderr, flush=True)
