"""Running host tools. The only module that starts subprocesses."""

import logging
import os
import queue
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Literal, NoReturn

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


def on_the_terminal(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a tool that has this process' terminal for itself; return how it ended.

    128 and its number if a signal did that. Raises ``CommandFailed`` if it cannot be started.
    """
    try:
        child = subprocess.Popen(list(argv), env=env)
    except OSError as error:
        raise CommandFailed(f"{argv[0]} could not be started", why=error.strerror) from None
    with child:
        try:
            code = child.wait()
        except BaseException:
            child.terminate()
            raise
    return code if code >= 0 else 128 - code


def replace_process(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Become another program, found by the ``PATH`` of ``env``: its exit code becomes ours.

    Raises ``CommandFailed`` if it cannot be started.
    """
    program = shutil.which(argv[0], path=env.get("PATH"))
    try:
        os.execve(program or argv[0], list(argv), dict(env))
    except OSError as error:
        raise CommandFailed(f"{argv[0]} could not be started", why=error.strerror) from None


class Child:
    """A process of this host whose lines are read while it runs, in a session of its own.

    Its program is found by the ``PATH`` of ``env``. Raises ``CommandFailed`` if it cannot start.
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        try:
            self._child = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise CommandFailed(f"{argv[0]} could not be started", why=error.strerror) from None

    def __iter__(self) -> Iterator[tuple[Literal["stdout", "stderr"], str]]:
        """Yield its lines as they come, each with its stream, until it has ended."""
        for stream, piece in self.pieces():
            yield stream, piece.rstrip("\n")

    def pieces(self) -> Iterator[tuple[Literal["stdout", "stderr"], str]]:
        """Yield the same lines with their ends, which the last of a stream may lack."""
        lines: queue.Queue[tuple[Literal["stdout", "stderr"], str] | None] = queue.Queue()

        def read(name: Literal["stdout", "stderr"], stream: IO[str]) -> None:
            with stream:
                for line in stream:
                    lines.put((name, line))
            lines.put(None)

        assert self._child.stdout and self._child.stderr
        streams: tuple[tuple[Literal["stdout", "stderr"], IO[str]], ...] = (
            ("stdout", self._child.stdout),
            ("stderr", self._child.stderr),
        )
        for name, stream in streams:
            threading.Thread(target=read, args=(name, stream), daemon=True).start()
        for _ in streams:
            yield from iter(lines.get, None)

    def exit_code(self) -> int:
        """Wait for it and return how it ended; 128 and its number if a signal did that."""
        code = self._child.wait()
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        """End it and every process of its session, also those in groups of their own."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in _session(self._child.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + GRACE_SECONDS
            while _session(self._child.pid) and time.monotonic() < deadline:
                self._child.poll()
                time.sleep(0.05)


def _session(leader: int) -> list[int]:
    """Return the running processes of a session (proc(5): the sixth field of stat)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state not in "ZX":
                found.append(int(stat.parent.name))
    return found


def _end(child: "subprocess.Popen[str]") -> None:
    """End the child, and whoever is left of its process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_SECONDS)
