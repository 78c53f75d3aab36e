"""The driver of a sweep: each combination through resolve, lock, build and validate.

It may end at any moment, for example by Ctrl-C: the result of a stage is in the state folder
before the next stage begins, and a later sweep continues from there.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol, TextIO, TypedDict

from mlruntime.errors import (
    ArtifactNotFound,
    CommandFailed,
    Damaged,
    HashMismatch,
    InvalidDefinition,
    NoCompatibleVersions,
    StorageError,
    UsageError,
)
from mlruntime.explore.combinations import Combination
from mlruntime.explore.diagnosis import diagnose
from mlruntime.explore.record import GOAL, LEVELS, CombinationRecord
from mlruntime.explore.state import StateFolder
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
from mlruntime.store.store import storage_errors
from mlruntime.validation.report import Report

# Seconds that a combination is expected to take, as long as none has finished.
FIRST_GUESS: Final = 300.0
# Errors of one combination. Any other error is about this host and ends the sweep.
_ITS_OWN: Final = (
    NoCompatibleVersions, ArtifactNotFound, CommandFailed, HashMismatch, InvalidDefinition
)  # fmt: skip
_LOCKED: Final = LEVELS.index("locked") + 1
_BUILT: Final = LEVELS.index("built") + 1
_UNRESOLVED: Final = "unresolved"
_REMEMBERED: Final = 5000  # lines of a log in which the cause of a failure is looked for


class _Spent(TypedDict):
    seconds: float
    date: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """A combination whose versions are chosen; ``key`` identifies all it will be tried with."""

    key: str
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineImage:
    """An image in the engine: its id there, and the digest of its manifest."""

    image: str
    digest: str


class Stages(Protocol):
    """What the verbs do, for one combination at a time."""

    def resolve(self, combination: Combination) -> Resolved:
        """Choose versions; raises ``NoSolution``."""

    def lock(self, combination: Combination, say: Callable[[str], None]) -> Lock:
        """Lock a combination that was resolved."""

    def build(
        self,
        combination: Combination,
        lock: Lock,
        say: Callable[[str], None],
        log: Callable[[str], None],
    ) -> EngineImage:
        """Compose the image and load it; ``log`` hears every line of every program."""

    def validate(self, lock: Lock, built: EngineImage, say: Callable[[str], None]) -> Report:
        """Run the checks on a cluster."""

    def discard(self, combination: Combination) -> None:
        """Take the image out of the engine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """When to stop: after ``seconds``, after ``most`` combinations, or once all have ``goal``."""

    seconds: float | None = None
    most: int | None = None
    goal: str = GOAL
    retry: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepResult:
    """The records of a sweep as they are now, and the combinations that are left, with why."""

    records: tuple[CombinationRecord, ...]
    left: tuple[Combination, ...]
    why: str | None


class Sweep:
    """One run over combinations, from the state that earlier runs have left."""

    def __init__(
        self,
        combinations: Sequence[Combination],
        state: StateFolder,
        stages: Stages,
        *,
        runtime: str,
        limits: Limits,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._combinations = combinations
        self._state = state
        self._stages = stages
        self._runtime = runtime
        self._limits = limits
        self._say = say
        self._clock = clock
        self._now = now

    def run(self) -> SweepResult:
        """Try what is left while there is time; raise errors that no combination causes."""
        begin, why = self._clock(), None
        pending = [c for c in self._combinations if not self._resolved(c).ended(self._limits.goal)]
        for number, combination in enumerate(pending):
            why = self._no_time(self._clock() - begin, number)
            if why is not None:
                break
            self._say(f"[{number + 1}/{len(pending)}] {combination.text}")
            self._try(combination)
        return self.outcome(why)

    def outcome(self, why: str | None = None) -> SweepResult:
        """Return where the sweep stands, from the state folder alone."""
        known = {c: self._state.record(c.name) for c in self._combinations}
        return SweepResult(
            records=tuple(record for record in known.values() if record),
            left=tuple(c for c, r in known.items() if not (r and r.ended(self._limits.goal))),
            why=why,
        )

    def _no_time(self, used: float, started: int) -> str | None:
        limits = self._limits
        if limits.most is not None and started >= limits.most:
            return f"{limits.most} were asked for"
        if limits.seconds is None:
            return None
        need, left = self._expected(), limits.seconds - used
        if need <= left:
            return None
        return f"the next may take {need:.0f} s, and {max(left, 0):.0f} s of the budget are left"

    def _expected(self) -> float:
        """Return what a combination may take: as long as the longest one that went all the way."""
        known = [
            sum(record.seconds.values())
            for record in self._state.records()
            if record.reached > LEVELS.index(self._limits.goal) or "validate" in record.seconds
        ]
        return max(known, default=FIRST_GUESS)

    # one combination

    def _resolved(self, combination: Combination) -> CombinationRecord:
        """Return its record, a new one unless the present one was made with the same key."""
        begin = self._clock()
        fresh = CombinationRecord(
            name=combination.name,
            runtime=self._runtime,
            axes=tuple((name, str(version)) for name, version in combination.versions),
            key=_UNRESOLVED,
        )
        try:
            found = self._stages.resolve(combination)
        except NoCompatibleVersions as error:
            failure = diagnose("resolve", error, (), None)
            return self._kept(fresh.failed(failure, **self._spent(begin)))
        known = self._state.record(combination.name)
        if known is not None and known.key == found.key:
            again = self._limits.retry and known.failure is not None
            return self._kept(known.again()) if again else known
        resolved = {"key": found.key, "versions": found.versions}
        return self._kept(fresh.attained("resolve", **self._spent(begin), **resolved))

    def _try(self, combination: Combination) -> None:
        """Take one combination as far as it goes; it has been resolved."""
        record = self._state.record(combination.name)
        assert record is not None
        with _Log.opened(self._state.log(combination.name), self._say, self._now()) as log:
            try:
                record = self._kept(self._stage_by_stage(combination, record, log))
            finally:
                self._stages.discard(combination)
            for line in _told(record):
                log(line)

    def _stage_by_stage(
        self, combination: Combination, record: CombinationRecord, log: "_Log"
    ) -> CombinationRecord:
        stage, begin = "lock", self._clock()
        try:
            if record.reached < _LOCKED:
                record = self._lock(combination, record, log)
            lock = self._lock_of(combination)
            if record.ended(self._limits.goal):
                return record
            stage, begin = "build", self._clock()
            # An image built earlier is in the store, but perhaps no longer in the engine.
            built = self._stages.build(combination, lock, log, log.record)
        except (StorageError, Damaged):
            raise
        except _ITS_OWN as error:
            for line in str(error).splitlines():
                if line.strip() not in log.lines:  # the compiler's messages are in the log already
                    log.record(line)
            failure = diagnose(stage, error, tuple(log.lines), str(log.path))
            return record.failed(failure, **self._spent(begin))
        if record.reached < _BUILT:
            record = record.attained("build", **self._spent(begin), image=built.digest)
        record = self._kept(replace(record, image=built.digest))
        if record.ended(self._limits.goal):
            return record
        begin = self._clock()
        report = self._stages.validate(lock, built, log)
        self._state.write(combination.name, "report", report.to_json())
        return record.validated(report, **self._spent(begin), log=str(log.path))

    def _lock(
        self, combination: Combination, record: CombinationRecord, log: "_Log"
    ) -> CombinationRecord:
        begin = self._clock()
        made = self._stages.lock(combination, log)
        self._state.write(combination.name, "lock", made.to_json())
        locked = {
            "lock": made.digest,
            "versions": made.components,
            "omitted": tuple(omission.component for omission in made.omitted),
        }
        return self._kept(record.attained("lock", **self._spent(begin), **locked))

    def _lock_of(self, combination: Combination) -> Lock:
        text = self._state.text(combination.name, "lock")
        shown = str(self._state.path(combination.name, "lock"))
        if text is None:
            raise UsageError("a lock is gone", where=shown, hint="remove its record as well")
        return parse_lock(text, file=shown)

    def _spent(self, begin: float) -> _Spent:
        today = self._now().date().isoformat()
        return {"seconds": self._clock() - begin, "date": today}

    def _kept(self, record: CombinationRecord) -> CombinationRecord:
        text = json.dumps(record.to_dict(), indent=1, ensure_ascii=False) + "\n"
        self._state.write(record.name, "record", text)
        return record


class _Log:
    """Writes everything about one combination to its log, and shows the main lines."""

    def __init__(self, path: Path, sink: TextIO, say: Callable[[str], None]) -> None:
        self.path = path
        self.lines: deque[str] = deque(maxlen=_REMEMBERED)
        self._sink = sink
        self._say = say

    @classmethod
    @contextmanager
    def opened(cls, path: Path, say: Callable[[str], None], now: datetime) -> Iterator["_Log"]:
        """Open the file at its end: a combination that is tried again has one log."""
        with storage_errors(path.parent, instead="name another folder with --state"):
            sink = path.open("a", encoding="utf-8")
        with sink:
            sink.write(f"== {now:%Y-%m-%dT%H:%M:%SZ}\n")
            yield cls(path, sink, say)

    def __call__(self, line: str) -> None:
        self.record(line)
        self._say(f"  {line}")

    def record(self, line: str) -> None:
        """Write a line to the log without showing it."""
        self.lines.append(line.rstrip())
        self._sink.write(f"{line.rstrip()}\n")
        self._sink.flush()


def _told(record: CombinationRecord) -> Iterator[str]:
    """Yield how a combination ended; a failure with its last lines and the path of its log."""
    seconds = sum(record.seconds.values())
    yield f"{record.text}: {record.level or 'nothing'} after {seconds:.0f} s"
    if record.failure:
        yield f"failed: {record.failure.stage}: {record.failure.kind}: {record.failure.what}"
        yield from (f"  | {line}" for line in record.failure.lines)
        yield f"  log: {record.failure.log}"
