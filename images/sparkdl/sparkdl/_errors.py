"""What ``HorovodRunner.run`` raises besides the usual ``TypeError`` and ``ValueError``."""

import json
import re
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass

# What a rank says when it is not itself to blame: another one went away under it.
_CONSEQUENCE = re.compile(
    r"Horovod has been shut down|HorovodInternalError|gloo/|Connection (?:reset|closed) by peer"
)


class HorovodRunnerError(RuntimeError):
    """The root of all that a run can raise."""


class NotEnoughSlots(HorovodRunnerError):  # noqa: N818 - says what is wrong by itself
    """The cluster has fewer task slots than ranks were asked for."""


class UnsuitableCluster(HorovodRunnerError):  # noqa: N818
    """The cluster's configuration does not let ranks run together, or share what it has."""


class NotSendable(HorovodRunnerError):  # noqa: N818
    """``main`` or its arguments cannot be pickled, or are too large to be sent to the ranks."""


class RunCancelled(HorovodRunnerError):  # noqa: N818
    """Somebody else ended the Spark job that the ranks ran in."""


class RankFailed(HorovodRunnerError):  # noqa: N818
    """``main`` raised on a rank, or a rank's process died.

    ``rank`` is the first rank that failed (``None`` when it is not known which one died) and
    ``traceback`` its traceback as text, empty when the process died without one.
    """

    # Both have defaults: copy and pickle make an exception from its message, then set the rest.
    def __init__(self, message: str, *, rank: int | None = None, traceback: str = "") -> None:
        super().__init__(message)
        self.rank = rank
        self.traceback = traceback


class RankLost(RankFailed):
    """A rank's process died or hung, or its machine is gone; ``main`` itself raised nothing."""


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


def lost(rank: int | None, size: int, host: str | None, how: str, last: str = "") -> RankLost:
    """Return the error for a rank that is gone without an account of its own.

    ``last`` is what it wrote last.
    """
    who = f"rank {rank} of {size}" if rank is not None else f"one of {size} ranks"
    place = f" on {host}" if host else ""
    words = f"\n\nIts last output:\n{last}" if last else ""
    return RankLost(f"{who}{place} {how}{words}", rank=rank)


def returned_early(first: int, failures: Sequence[Failure], size: int) -> RankFailed:
    """Return the error for a rank whose ``main`` returned while other ranks needed it."""
    others = sorted({one.rank for one in failures})
    several = len(others) > 1
    who = f"{'ranks' if several else 'rank'} {', '.join(map(str, others))}"
    failure = failures[0]
    return RankFailed(
        f"rank {first}'s main returned while {who} of {size} {'were' if several else 'was'} still "
        f"training, and Horovod ends for all ranks when one leaves. Every rank has to do the same "
        "number of steps and call the same collectives: see shard.steps and equal_steps of "
        f"sparkdl.data. Rank {failure.rank} on {failure.host} got: {failure.summary}\n\n"
        f"{failure.traceback}",
        rank=failure.rank,
        traceback=failure.traceback,
    )


def how_it_ended(status: int | None) -> str:
    """Say how a process ended that gave no account of itself."""
    if status is None:
        return "died, and the process that it was forked from too"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        hint = " (the kernel does that when memory runs out)" if name == "SIGKILL" else ""
        return f"was killed by {name}{hint}"
    return f"ended with status {status} before main returned"


def first_cause(failures: Sequence[Failure]) -> Failure | None:
    """Return the earliest failure that is not the consequence of another, if there is one."""
    return next((failure for failure in failures if not failure.is_consequence()), None)


def spark_reason(message: str) -> str:
    """Return the sentence of Spark's error that says what happened."""
    if "PythonException" in message:
        raised = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception): .+", message, re.MULTILINE)
        raised = [line for line in raised if "PythonException" not in line]
        if raised:
            return raised[-1].strip()
    for line in message.splitlines():
        found = re.search(r"(?:SparkException|IOException): (.*)|(Executor\w*Failure.*)", line)
        if found and "Job aborted" not in line:
            return (found.group(1) or found.group(2)).strip()
    return message.strip().splitlines()[0] if message.strip() else "no reason given"
