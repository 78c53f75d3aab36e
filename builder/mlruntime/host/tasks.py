"""Threads that end with the block that uses them, also when that fails or is interrupted."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Generic, ParamSpec, TypeVar

# Seconds that running jobs get to clean up (a container, a process) after they were told to stop.
GRACE_SECONDS: Final = 10.0
P = ParamSpec("P")
K = TypeVar("K")
T = TypeVar("T")


def _give_way(nice: int) -> None:
    if nice and sys.platform == "linux":  # elsewhere it would be the whole process
        with suppress(OSError):  # a sandbox may forbid it, and nothing but speed depends on it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


class TaskGroup:
    """A thread pool for a ``with`` block.

    When the block ends well, everything submitted is waited for. When it does not, jobs that
    have not begun are dropped, ``abort`` is called to make the running ones end, and they get
    ``grace`` seconds for it: an interrupt never waits for a connection that stalls.
    """

    def __init__(
        self,
        size: int,
        abort: Callable[[], None],
        *,
        grace: float = GRACE_SECONDS,
        name: str = "tasks",
        nice: int = 0,
    ) -> None:
        """``nice`` is how far its threads give way to others, as in nice(1); Linux has that."""
        self._pool = ThreadPoolExecutor(
            size, thread_name_prefix=name, initializer=_give_way, initargs=(nice,)
        )
        self._abort = abort
        self._grace = grace
        self._jobs: list[Future[Any]] = []

    def __enter__(self) -> "TaskGroup":
        return self

    def submit(self, job: Callable[P, T], *args: P.args, **options: P.kwargs) -> Future[T]:
        """Have a job done by one of the threads."""
        future = self._pool.submit(job, *args, **options)
        self._jobs.append(future)
        return future

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._pool.shutdown()
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._abort()
        # `wait` does not count a job as done that was cancelled before it began.
        wait([job for job in self._jobs if not job.cancelled()], timeout=self._grace)


class Once(Generic[K, T]):
    """Values that are made once each, whichever threads ask: an error is kept as a value is.

    The first one to ask makes a value, without a lock: only who asks for that very value waits.
    """

    def __init__(self) -> None:
        self._values: dict[K, Future[T]] = {}
        self._guard = threading.Lock()

    def of(self, key: K, make: Callable[[], T]) -> T:
        """Return a value; ``make`` is called unless somebody has made it, or is making it."""
        with self._guard:
            mine = key not in self._values
            value = self._values.setdefault(key, Future())
        if mine:
            try:
                value.set_result(make())
            except BaseException as error:
                value.set_exception(error)
        return value.result()
