"""Running containers to their end, so that another thread can stop them."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from mlruntime.engine.interface import Container, Starts
from mlruntime.engine.values import RunResult
from mlruntime.errors import CommandFailed, Unavailable

TAIL_LINES: Final = 40
Archive = Callable[[], Iterator[bytes]]


class Running:
    """Runs containers of one engine; ``abort`` ends all of them, now and later.

    ``engine`` is called when there is something to run.
    """

    def __init__(self, engine: Callable[[], Starts]) -> None:
        self._engine = engine
        self._running: set[Container] = set()
        self._aborted = threading.Event()

    def abort(self) -> None:
        """Make every ``run`` of other threads, now or later, end with ``CommandFailed``."""
        # Set the flag, then read the list; ``run`` does it the other way round: none is missed.
        self._aborted.set()
        for container in tuple(self._running):
            with suppress(Unavailable):
                container.kill()

    def run(
        self,
        image: str,
        command: Sequence[str],
        *,
        on_line: Callable[[str], None] | None = None,
        on_start: Callable[[Container], None] | None = None,
        on_end: Callable[[Container], None] | None = None,
        timeout: float | None = None,
        contents: Sequence[Archive] = (),
        **options: Any,
    ) -> RunResult:
        """Run a container to its end and remove it; see ``interface.Runs``.

        After ``timeout`` seconds, or when another thread calls ``abort``, the container is
        killed and ``CommandFailed`` raised, with its last lines.
        """
        what = command[0] if command else image
        archives = [self._until_aborted(archive, what) for archive in contents]
        container = self._engine().start(image, command, contents=archives, **options)
        self._running.add(container)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            with suppress(Unavailable):
                container.kill()

        timer = threading.Timer(timeout, expire) if timeout is not None else None
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        try:
            if timer:
                timer.start()
            if self._aborted.is_set():
                container.kill()
            if on_start:
                on_start(container)
            for line in container.follow():
                tail.append(line)
                if on_line:
                    on_line(line)
            code = container.wait()
            if code == 0 and on_end and not (self._aborted.is_set() or expired.is_set()):
                on_end(container)
        finally:
            if timer:
                timer.cancel()
            container.remove()
            self._running.discard(container)
        told = "\n       ".join(tail) or "no output"
        if self._aborted.is_set():
            raise CommandFailed(f"{what} was interrupted", why=told)
        if expired.is_set():
            raise CommandFailed(f"{what} did not end within {timeout:.0f} s", why=told)
        return RunResult(exit_code=code, tail="\n".join(tail))

    def _until_aborted(self, archive: Archive, what: str) -> Archive:
        def chunks() -> Iterator[bytes]:
            for chunk in archive():
                if self._aborted.is_set():
                    raise CommandFailed(f"{what} was interrupted")
                yield chunk

        return chunks
