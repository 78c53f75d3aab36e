"""Downloads as a person sees them: bars on a terminal, else a line now and then."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlruntime.cli.logs import is_quiet

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from mlruntime.fetch.downloads import Progress as Downloads

EVERY = 5.0


class ProgressLines:
    """Says how many files and bytes there are, at most every ``EVERY`` seconds of ``clock``."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._say = say
        self._clock = clock
        self._guard = threading.Lock()
        self._said = clock()
        self._have = self._done = 0

    def started(self, name: str, size: int) -> None:
        """Do nothing: only received bytes and finished files count."""

    def advanced(self, name: str, count: int) -> None:
        """Count the bytes."""
        with self._guard:
            self._have += count
            self._perhaps()

    def finished(self, name: str) -> None:
        """Count the file."""
        with self._guard:
            self._done += 1
            self._perhaps()

    def _perhaps(self) -> None:
        if self._clock() - self._said >= EVERY:
            self._said = self._clock()
            self._say(f"downloaded {self._have / 1e6:.0f} MB, {self._done} files complete")


class Bars:
    """One bar for each file under way, on a terminal."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def started(self, name: str, size: int) -> None:
        """Add a bar."""
        self._tasks[name] = self._progress.add_task(name, total=size)

    def advanced(self, name: str, count: int) -> None:
        """Move a bar."""
        self._progress.advance(self._tasks[name], count)

    def finished(self, name: str) -> None:
        """Take the bar away."""
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))


@contextmanager
def downloads(say: Callable[[str], None]) -> Iterator["Downloads"]:
    """Yield the ``Progress`` that suits stderr: bars on a terminal, else lines through ``say``."""
    if is_quiet():
        yield ProgressLines(say, time.monotonic)
        return
    from rich.console import Console  # only for terminals: other starts do not wait for it
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield ProgressLines(say, time.monotonic)
        return
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bars(progress)
