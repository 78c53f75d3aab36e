"""What a run needs of whatever starts its tasks."""

from collections.abc import Sequence
from typing import Protocol

from sparkdl._control import Invitation, Member
from sparkdl._logs import RunLogs
from sparkdl._options import RunOptions


class Launcher(Protocol):
    """How the tasks of an attempt are started: by Spark, or as threads of the driver."""

    host: str
    addresses: Sequence[str]

    def start(self, invitation: Invitation, np: int) -> None:
        """Start ``np`` tasks that join the attempt, without waiting for them."""

    def result(self) -> bytes | None:
        """Return rank 0's pickled result if all tasks have ended, ``None`` while they run.

        It is empty when the rank's task has sent it by itself.

        Raises what Spark says when it ended them.
        """

    def finish(self, seconds: float) -> None:
        """Wait for the tasks to end; end them when they have not after this time."""

    def close(self) -> None:
        """Give back what all attempts have used."""

    def launched(self) -> bool:
        """Return whether Spark has started any of the tasks, as far as it is known."""

    def why_waiting(self, np: int) -> str:
        """Say why tasks may not have been started yet."""

    def remember(self, members: Sequence[Member]) -> None:
        """Prefer, for the next run, where these have been."""

    def shun(self, members: Sequence[Member]) -> None:
        """Have no more tasks started where these have gone silent."""

    def slots(self, np: int, options: RunOptions, logs: RunLogs) -> int:
        """Return with how many ranks to start again; raise ``NotEnoughSlots`` if that is none."""
