"""What a rank's own process knows of the run it belongs to, and how it speaks to the driver."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sparkdl import _wire
from sparkdl._wire import Channel, Kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One rank's connection to its run."""

    channel: Channel
    rank: int
    size: int
    attempt: int
    checkpoints: str | None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, text: str) -> None:
        """Have the driver show a message."""
        self.channel.send(Kind.MESSAGE, text.encode(errors="replace"))

    def report(self, metrics: Mapping[str, Any]) -> None:
        """Have the driver show how far the training is."""
        self.channel.send(Kind.METRICS, json.dumps(metrics).encode())

    def stand(self, standing: Mapping[str, Any]) -> None:
        """Let the driver know where ``main`` is."""
        self.channel.send(Kind.STANDING, json.dumps(standing).encode())

    def compare(self, weights: bytes) -> None:
        """Have the driver compare this rank's weights with those of the others."""
        self.channel.send(Kind.WEIGHTS, weights)

    def ask(self, kind: bytes, body: bytes = b"") -> bytes:
        """Send something that the driver answers, and return the answer's body."""
        with self._lock:
            self.channel.send(kind, body)
            frame = self.channel.receive()
        expected = {Kind.SAVE: Kind.SAVED, Kind.LOAD: Kind.CHECKPOINT, Kind.FAILED: Kind.HEARD}
        if frame.kind != expected[kind]:
            raise _wire.Refused(f"{frame.kind!r} is no answer to {kind!r}")
        return frame.body


_current: Session | None = None


def enter(session: Session) -> None:
    """Make this process a rank of a run, for as long as it lives."""
    global _current
    _current = session


def current() -> Session | None:
    """Return the run that this process is a rank of, ``None`` outside of one."""
    return _current


def require() -> Session:
    """Return the run that this process is a rank of; there must be one."""
    assert _current is not None
    return _current
