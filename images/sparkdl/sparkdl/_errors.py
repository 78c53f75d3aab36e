"""What ``HorovodRunner.run`` raises besides the usual ``TypeError`` and ``ValueError``."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

# What a rank says when it is not itself to blame: another one went away under it.
_CONSEQUENCE = re.compile(
    r"Horovod has been shut down|HorovodInternalError|gloo/|Connection (?:reset|closed) by peer"
)


class NotEnoughSlots(RuntimeError):  # noqa: N818 - says what is wrong by itself
    """The cluster has fewer task slots than ranks were asked for."""


class RankFailed(RuntimeError):  # noqa: N818
    """``main`` raised on a rank, or a rank's process died.

    ``rank`` is the first rank that failed (``None`` when it is not known which one died) and
    ``traceback`` its traceback as text, empty when the process died without one.
    """

    def __init__(self, message: str, *, rank: int | None, traceback: str = "") -> None:
        super().__init__(message)
        self.rank = rank
        self.traceback = traceback


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One rank's account of its own failure, as it travels to the driver."""

    rank: int
    host: str
    summary: str
    traceback: str

    def to_json(self) -> bytes:
        """Return the failure as JSON: text only, so that reading it runs nothing."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Failure":
        """Read back what ``to_json`` wrote."""
        return cls(**json.loads(data))

    def is_consequence(self) -> bool:
        """Tell whether this rank only noticed that another one was gone."""
        return bool(_CONSEQUENCE.search(self.summary))

    def as_error(self, size: int) -> RankFailed:
        """Return the error that the driver raises for it."""
        head = f"rank {self.rank} of {size} on {self.host} failed: {self.summary}"
        return RankFailed(f"{head}\n\n{self.traceback}", rank=self.rank, traceback=self.traceback)


def died(rank: int | None, size: int, host: str | None, how: str) -> RankFailed:
    """Return the error for a rank whose process ended without an account of its own."""
    who = f"rank {rank} of {size}" if rank is not None else f"one of {size} ranks"
    place = f" on {host}" if host else ""
    return RankFailed(f"{who}{place} died: {how}", rank=rank)


def first_cause(failures: Sequence[Failure]) -> Failure | None:
    """Return the earliest failure that is not the consequence of another, if there is one."""
    return next((failure for failure in failures if not failure.is_consequence()), None)


def from_spark(
    message: str, failures: Sequence[Failure], started: Mapping[int, tuple[int, str]], size: int
) -> RankFailed | None:
    """Return the error for a barrier job that Spark reports as failed with ``message``.

    ``started`` maps a task's partition to its rank and host. ``None`` when no rank had started
    and none failed, so that Spark's own error says it best.
    """
    cause = first_cause(failures)
    if cause is not None:
        return cause.as_error(size)
    if not started:
        return failures[0].as_error(size) if failures else None
    task = re.search(r"ResultTask\(\d+, (\d+)\)", message)
    reported = {failure.rank for failure in failures}
    rank, host = started.get(int(task.group(1)), (None, None)) if task else (None, None)
    if rank is None or rank not in reported:
        return died(rank, size, host, _spark_reason(message))
    # The task Spark names only said that another one was gone: it is one that said nothing.
    silent = [(r, h) for r, h in started.values() if r not in reported]
    rank, host = silent[0] if len(silent) == 1 else (None, None)
    return died(rank, size, host, "its process ended without an error (killed or crashed)")


def _spark_reason(message: str) -> str:
    """Return the sentence of Spark's error that says what happened to the task."""
    for line in message.splitlines():
        found = re.search(r"(?:SparkException|IOException): (.*)|(Executor\w*Failure.*)", line)
        if found and "Job aborted" not in line:
            return (found.group(1) or found.group(2)).strip()
    return message.strip().splitlines()[0] if message.strip() else "no reason given"
