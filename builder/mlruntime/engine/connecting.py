"""One connection for a whole run of the tool, made when it is first needed."""

import threading
from collections.abc import Callable

from mlruntime.engine.docker.connection import connect
from mlruntime.engine.interface import Engine


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
