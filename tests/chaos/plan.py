"""Which faults happen when, and how the end of a job is judged. Core: no I/O."""

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

# How often each happens, in relation to the others.
WEIGHTS: Final = {"executor": 4, "worker": 3, "hang": 2, "network": 2, "master": 1}
# Between two faults, in seconds: Spark needs some ten to notice and to begin again.
_PAUSES: Final = (5.0, 25.0)
Verdict = Literal["right", "wrong", "said why", "silent", "hung"]
# What no run may have.
BAD: Final[tuple[Verdict, ...]] = ("wrong", "silent", "hung")
# The exception that a program ended with, as Python shows it: the last of those that begin a line.
_RAISED: Final = re.compile(
    r"^(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Lost|Failed|Ended|Cancelled): (?=\S)"
)
# What mlruntime says of a job whose container is gone.
_OURS: Final = re.compile(r"^mlruntime: \S.* was killed: ")
# A line of Spark's own log, which warns of much that does no harm; and one of a stack trace.
_LOGGED: Final = re.compile(r"^\d\d/\d\d/\d\d \d\d:")
_TRACE: Final = re.compile(r"^\s")
# Which part of a cluster was lost, and that it was: a program's own mistake is no reason of ours.
_PART: Final = (
    r"(?:executor|worker|master|rank|task|stage|application|node|host|connection|SparkContext)s?"
)
_GONE: Final = (
    r"(?:lost|exited|killed|removed|failed|ended|died|gone|refused|reset|closed|shut ?down|stopped"
    r"|no longer|not start|aborted|unresponsive|timed out)"
)
_REASON: Final = re.compile(
    rf"\b{_PART}\b.*\b{_GONE}\b|\b{_GONE}\b.*\b{_PART}\b|ExecutorLostFailure",
    re.IGNORECASE | re.DOTALL,
)
_TOLD_LINES: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What happens to the ``worker`` of this number, ``seconds`` after the start.

    ``master`` happens to the master. ``lasts`` is for what ends by itself.
    """

    kind: str
    seconds: float
    worker: int
    lasts: float


def faults(seed: int, seconds: float, workers: int, kinds: Sequence[str]) -> tuple[Fault, ...]:
    """Return the faults of a run, in order: always the same for a seed."""
    chance, at, found = random.Random(seed), 0.0, []
    while (at := at + chance.uniform(*_PAUSES)) < seconds:
        (kind,) = chance.choices(kinds, weights=[WEIGHTS[kind] for kind in kinds])
        worker, lasts = chance.randint(1, workers), chance.uniform(3, 30)
        found.append(Fault(kind=kind, seconds=round(at, 1), worker=worker, lasts=round(lasts, 1)))
    return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a program ended; ``exit_code`` is ``None`` if it was given up after its time."""

    exit_code: int | None
    stdout: str
    stderr: str


def judged(ended: Ended, right: Callable[[Any], bool]) -> tuple[Verdict, str]:
    """Return the verdict on a job, and the lines that explain it."""
    lines = ended.stderr.splitlines()
    if ended.exit_code is None:
        return "hung", "\n".join(lines[-_TOLD_LINES:])
    if ended.exit_code:
        killed = ended.exit_code > 128
        reason = last_error(lines, killed=killed)
        said = bool(reason) and (killed or _REASON.search(reason) is not None)
        return ("said why" if said else "silent"), reason or "\n".join(lines[-_TOLD_LINES:])
    told = [line for line in ended.stdout.splitlines() if line.startswith("RESULT ")]
    if len(told) == 1 and right(json.loads(told[0].removeprefix("RESULT "))):
        return "right", ""
    return "wrong", "\n".join(told) or "it printed no result"


def last_error(lines: Sequence[str], *, killed: bool) -> str:
    """Return the error that a program ended with, or what we said if it was ``killed``; else "".

    Of an error of several lines, these are its first ones, without stack trace and log.
    """
    begins = _OURS if killed else _RAISED
    # What follows a line of the log is the exception that the line is about.
    above = ["", *lines]
    starts = [
        number
        for number, line in enumerate(lines)
        if begins.match(line) and not _LOGGED.match(above[number])
    ]
    if not starts:
        return ""
    after = lines[starts[-1] :]
    told = [line for line in after if line and not (_LOGGED.match(line) or _TRACE.match(line))]
    return "\n".join(told[:_TOLD_LINES])


def summary(verdicts: Sequence[Verdict], seconds: Sequence[float]) -> Mapping[str, Any]:
    """Return how many jobs ended how, and how long they took."""
    ordered = sorted(seconds)
    counts: dict[str, int] = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}

    def at(share: float) -> float:
        return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1)

    times = {"median s": at(0.5), "95% s": at(0.95), "longest s": at(1.0)} if ordered else {}
    return {"jobs": len(verdicts), **counts, **times}
