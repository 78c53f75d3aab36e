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
_REASON: Final = re.compile(r"Error|Exception|killed|lost|removed|failed", re.IGNORECASE)
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
    lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    reasons = "\n".join([line for line in lines if _REASON.search(line)][-_TOLD_LINES:])
    if ended.exit_code is None:
        return "hung", reasons
    if ended.exit_code:
        return ("said why" if reasons else "silent"), reasons
    told = [line for line in ended.stdout.splitlines() if line.startswith("RESULT ")]
    if len(told) == 1 and right(json.loads(told[0].removeprefix("RESULT "))):
        return "right", ""
    return "wrong", "\n".join(told) or "it printed no result"


def summary(verdicts: Sequence[Verdict], seconds: Sequence[float]) -> Mapping[str, Any]:
    """Return how many jobs ended how, and how long they took."""
    ordered = sorted(seconds)
    counts: dict[str, int] = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}

    def at(share: float) -> float:
        return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1)

    times = {"median s": at(0.5), "95% s": at(0.95), "longest s": at(1.0)} if ordered else {}
    return {"jobs": len(verdicts), **counts, **times}
