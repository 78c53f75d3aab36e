"""One connection for a whole run of the tool, made when it is first needed."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlruntime.engine.interface import Engine

if TYPE_CHECKING:
    from mlruntime.engine.docker.engine import DockerEngine


def connect() -> "DockerEngine":
    """Connect to the engine that the docker command would use, else to one with a usual socket.

    Raises ``Unavailable``, with all that was tried and how to start one, when none answers.
    """
    # Imported late: the SDK takes longer to import than a build that has nothing to do.
    from mlruntime.engine.docker.connection import connect as to_docker

    return to_docker()


class Connecting:
    """Connects once, however many threads ask at the same time; closes what it has opened."""

    def __init__(self, open_: Callable[[], Engine] = connect) -> None:
        self._open = open_
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def __call__(self) -> Engine:
        """Return the engine; ``Unavailable`` when none answers."""
        with self._lock:
            if self._engine is None:
                self._engine = self._open()
            return self._engine

    def close(self) -> None:
        """Close the connection if there is one."""
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def __enter__(self) -> "Connecting":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
