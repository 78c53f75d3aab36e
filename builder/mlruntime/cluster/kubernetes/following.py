"""What a container of a pod writes, each line once, however often the connection breaks.

``kubectl logs --follow`` ends when an API server or a kubelet is restarted, when a proxy closes
what was quiet for long, and when the container ends; it does not always say which of these it was.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from mlruntime.cluster.kubernetes.kubectl import Kubectl, NotThere
from mlruntime.cluster.kubernetes.patience import STARTING_SECONDS, passing
from mlruntime.cluster.running import ClusterFailed
from mlruntime.errors import MlruntimeError

# What ``--timestamps`` puts before each line.
_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d) ?")
# Lines of two streams may be written in another order than that of their times, which are whole
# seconds where a log is asked for from a time on.
_OVERLAP: Final = timedelta(seconds=1)
# How far clocks of nodes may be apart.
_ASTRAY: Final = timedelta(hours=1)
PAUSE: Final = 0.5
End = TypeVar("End")


def followed(
    kube: Kubectl,
    pod: str,
    container: str,
    ended: Callable[[], End | None],
    *,
    tail: int | None = None,
    last: float = STARTING_SECONDS,
    gone: Callable[[End], bool] = lambda _: False,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[str, None, End]:
    """Yield what a container writes until it has ended; return what ``ended`` says of that.

    ``ended`` is asked whenever a connection ends; ``gone`` tells whether its answer means that the
    pod is not there, with nothing more to read. ``tail``: begin with so many lines from before.
    Raises ``ClusterFailed`` when the container has ended, and its last lines cannot be read within
    ``last`` seconds.
    """
    lines = _Lines(tail)
    over: End | None = None
    since = 0.0
    while True:
        trouble: MlruntimeError | None = None
        words = ("logs", pod, f"--container={container}", "--timestamps", "--follow")
        try:
            for piece in kube.pieces(*words, *lines.from_here()):
                # A line that was cut off comes again, whole; a program's last may lack its end.
                if piece.endswith("\n") or over is not None:
                    yield from lines.new(piece)
        except MlruntimeError as error:
            if not (passing(error) or isinstance(error, NotThere)):
                raise
            trouble = error
            if over is not None and gone(over):
                return over
        if over is None:
            over = ended()
            since = clock()
        elif trouble is None:
            return over
        elif clock() - since > last:
            raise ClusterFailed(f"the last lines of {pod} cannot be read", why=trouble.what)
        if over is None or trouble:
            time.sleep(PAUSE)


def _second(stamp: re.Match[str]) -> datetime:
    return datetime.fromisoformat(stamp[1] + stamp[2].replace("Z", "+00:00"))


class _Lines:
    """Which lines of a log have been passed on: of its last seconds, all of them."""

    def __init__(self, tail: int | None) -> None:
        self._tail = tail
        self._passed: dict[datetime | None, Counter[tuple[str, str]]] = {}
        self._again: Counter[tuple[str, str]] = Counter()
        self._newest: datetime | None = None
        self._second: datetime | None = None
        self._stamp = ""

    def from_here(self) -> list[str]:
        """Begin anew; return the words that ask for the lines which have not been passed on.

        Some that have been come with them.
        """
        self._again = Counter()
        for passed in self._passed.values():
            self._again += passed
        self._second, self._stamp = None, ""
        if self._newest is not None:
            return [f"--since-time={(self._newest - _OVERLAP).isoformat()}"]
        return [] if self._tail is None else [f"--tail={self._tail}"]

    def new(self, piece: str) -> list[str]:
        """Return what there is to pass on of a line, or of a part of it up to a carriage return."""
        text = piece
        found = _STAMP.match(piece)
        if found and self._plausible(second := _second(found)):
            self._stamp, self._second, text = found[0], second, piece[found.end() :]
            self._forget()
        line = (self._stamp, text)
        if self._again[line]:
            self._again[line] -= 1
            return []
        self._passed.setdefault(self._second, Counter())[line] += 1
        return [text.rstrip("\n")]

    def _plausible(self, second: datetime) -> bool:
        """Return whether a time may be that of the next line, not a program's own after a CR."""
        begin = second if self._newest is None else self._newest - _ASTRAY
        return begin <= second <= datetime.now(UTC) + _ASTRAY

    def _forget(self) -> None:
        """Forget what will not come again, now that there is a line of this second."""
        assert self._second is not None
        if self._newest is None or self._second > self._newest:
            self._newest = self._second
            for second in list(self._passed):
                if second is None or second < self._newest - _OVERLAP:
                    del self._passed[second]
