"""Ranks on the driver's own host."""

import os
import threading
from collections.abc import Sequence

from sparkdl import _attend, _cores
from sparkdl._attend import Seat, Terms
from sparkdl._control import Invitation, Member
from sparkdl._logs import RunLogs
from sparkdl._options import RunOptions

_LOOPBACK = "127.0.0.1"


class LocalTasks:
    """Tasks as threads of this process; each has a rank of its own made.

    ``gpus`` are the GPUs of the ranks, one for each, or none at all.
    """

    host = _LOOPBACK
    addresses: Sequence[str] = (_LOOPBACK,)

    def __init__(self, payload: bytes, terms: Terms, gpus: Sequence[str] = ()) -> None:
        self._payload, self._terms, self._gpus = payload, terms, gpus
        self._threads: list[threading.Thread] = []
        self._result: bytes | None = None

    def start(self, invitation: Invitation, np: int) -> None:
        """Start one thread per rank."""
        self._result = None
        cores = max(1, _cores.available() // np)
        for number in range(np):
            seat = Seat(
                partition=number,
                host="localhost",
                cores=cores,
                gpus=tuple(self._gpus[number : number + 1]),
                owners=(os.getpid(),),
            )
            thread = threading.Thread(
                target=self._attend, args=(invitation, seat), name="sparkdl-local", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def _attend(self, invitation: Invitation, seat: Seat) -> None:
        result = _attend.attend(invitation, seat, self._terms, self._payload)
        if result is not None:
            self._result = result

    def result(self) -> bytes | None:
        """Return rank 0's result once every thread has ended."""
        if any(thread.is_alive() for thread in self._threads):
            return None
        return self._result

    def finish(self, seconds: float) -> None:
        """Wait for the threads: they end when their ranks are killed, which takes no time."""
        for thread in self._threads:
            thread.join(seconds)
        self._threads.clear()

    def close(self) -> None:
        """Nothing was used by all attempts together."""

    def launched(self) -> bool:
        """Threads have no slots to wait for."""
        return True

    def why_waiting(self, np: int) -> str:
        """Nothing is waited for."""
        return ""

    def remember(self, members: Sequence[Member]) -> None:
        """All ranks are made in the same place."""

    def shun(self, members: Sequence[Member]) -> None:
        """There is no other place."""

    def slots(self, np: int, options: RunOptions, logs: RunLogs) -> int:
        """Return ``np``: a process of this host can always be started again."""
        return np
