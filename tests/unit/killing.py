"""Work that is killed at every step that changes files: each time in a process of its own."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

_STEPS: Final = frozenset(
    ("os.rename", "os.remove", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "open")
)
_WRITES: Final = os.O_WRONLY | os.O_RDWR


def steps(work: Callable[[], object], below: Path) -> Iterator[int]:
    """Yield after ``work`` was killed before its first change below a directory, its second, ….

    The caller puts things back as they were before it asks for the next. Ends when the work ended.
    """
    step = 0
    while _killed(work, str(below), step):
        yield step
        step += 1


def _killed(work: Callable[[], object], below: str, step: int) -> bool:
    child = os.fork()
    if child == 0:
        sys.addaudithook(_Killer(below, step))
        try:
            work()
        except BaseException as problem:
            os.write(2, f"{problem!r}\n".encode())
            os._exit(3)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), f"step {step}: {code}"
    return code != 0


class _Killer:
    """Counts what the interpreter is about to do to files, and kills it at one of them."""

    def __init__(self, below: str, step: int) -> None:
        self._below, self._left = below, step

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _STEPS:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITES):
            return
        paths = (os.fsdecode(a) for a in arguments[:2] if isinstance(a, str | bytes | os.PathLike))
        if not any(path.startswith(self._below) for path in paths):
            return
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1
