"""Running check programs against time limits, watching the cluster meanwhile."""

import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from mlruntime.cluster.running import Item, Process
from mlruntime.errors import MlruntimeError
from mlruntime.validation.report import CheckResult
from mlruntime.validation.state import CheckEnded, CheckStarted, Planned, ProtocolError, RunState

TICK_SECONDS: Final = 0.5
_KILL_SECONDS: Final = 15.0
_TAIL_LINES: Final = 30


class CheckTarget(Protocol):
    """Where check programs run."""

    def launch(self, names: Sequence[str]) -> Process:
        """Start a program that runs these checks."""
        ...

    def casualty(self) -> tuple[str, str] | None:
        """Return what happened to the cluster (a phrase, and a log) once a node has ended."""
        ...


class Observer(Protocol):
    """Receives progress, to show it to people who wait."""

    def started(self, name: str) -> None:
        """Note that a check began."""
        ...

    def ended(self, result: CheckResult) -> None:
        """Note how a check ended (also of one that never began)."""
        ...

    def waiting(self, name: str | None, seconds: float) -> None:
        """Note that ``name`` (or the program between two checks) is still running."""
        ...


class Runner:
    """Runs the planned checks to the end; every one of them gets a result."""

    def __init__(
        self,
        planned: Sequence[Planned],
        target: CheckTarget,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        factor: float = 1.0,
        slower: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """``factor`` stretches all limits. ``slower`` measures anew what it should be."""
        self._state = RunState(planned, factor=factor)
        self._slower = slower
        self._target = target
        self._observer = observer
        self._clock = clock
        self._pause = pause
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._looked = 0.0

    def run(self) -> dict[str, CheckResult]:
        """Return each check's result by name; processes are restarted for what is left."""
        while self._state.remaining and not self._lost():
            self._one_process()
        return self._state.results

    def _one_process(self) -> None:
        self._tail.clear()
        try:
            process = self._target.launch(self._state.remaining)
        except MlruntimeError:
            if self._lost():
                return
            raise
        self._state.begin(self._clock())
        over = False
        try:
            while not over and not self._trouble():
                item = self._next(process)
                if item is None:
                    continue
                over = isinstance(item, int | MlruntimeError)
                if not self._take(item):
                    break
        finally:
            if not over:
                process.kill()
        if not over and not self._gone(process):
            self._tell(*self._state.lost("a check's program cannot be killed", "", self._clock()))

    def _next(self, process: Process) -> Item | None:
        try:
            return process.items.get(timeout=TICK_SECONDS)
        except queue.Empty:
            self._observer.waiting(self._state.running, self._state.lasting(self._clock()))
            return None

    def _trouble(self) -> bool:
        """Return whether a time limit has passed or a node has ended; fail what that fails."""
        now = self._clock()
        if now >= self._looked + TICK_SECONDS:
            self._looked = now
            if self._lost():
                return True
        if now <= self._state.deadline:
            return False
        if self._state.stretch(self._slower()):
            return False
        self._tell(self._state.expired("\n".join(self._tail), now))
        return True

    def _take(self, item: Item) -> bool:
        """Process one item; return whether to continue reading."""
        if isinstance(item, MlruntimeError):
            # The stream was cut, because a node died or because the engine is gone.
            if not self._lost():
                raise item
            return False
        if isinstance(item, int):
            if not (self._lost() or (item != 0 and self._lost_soon())):
                self._tell(*self._state.exited(item, "\n".join(self._tail), self._clock()))
            return False
        stream, line = item
        if stream == "stderr":
            self._tail.append(line)
            return True
        return self._event(line, self._clock())

    def _event(self, line: str, now: float) -> bool:
        try:
            event = self._state.read(line, now)
        except ProtocolError as error:
            self._tell(*self._state.violated(error, now))
            return False
        if isinstance(event, CheckStarted):
            self._observer.started(event.name)
        elif isinstance(event, CheckEnded):
            return self._ended(event.result, now)
        return True

    def _ended(self, result: CheckResult, now: float) -> bool:
        """Accept a check's end only if the whole cluster is still running."""
        if (casualty := self._target.casualty()) is None:
            self._tell(result)
            return True
        self._tell(self._state.spoil(result.name, *casualty, now))
        return not self._lost()

    def _lost(self) -> bool:
        """Fail all that is left when a node has ended; return whether one has."""
        if (casualty := self._target.casualty()) is None:
            return False
        self._tell(*self._state.lost(*casualty, self._clock()))
        return True

    def _lost_soon(self) -> bool:
        """Like ``_lost``, but wait: the end of a process is seen before that of its container."""
        deadline = self._clock() + TICK_SECONDS
        while self._clock() < deadline:
            if self._lost():
                return True
            self._pause(TICK_SECONDS / 10)
        return False

    def _gone(self, process: Process) -> bool:
        """Wait until the killed process has ended, so that the next one runs alone."""
        deadline = self._clock() + _KILL_SECONDS
        while self._clock() < deadline:
            try:
                item = process.items.get(timeout=TICK_SECONDS)
            except queue.Empty:
                continue
            if isinstance(item, int | MlruntimeError):
                return True
        return False

    def _tell(self, *results: CheckResult) -> None:
        for result in results:
            self._observer.ended(result)
