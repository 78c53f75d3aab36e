"""Which checks have started, ended, failed: the state of a validation. Core: no I/O, no clock.

The program in the driver writes events; this decides what they mean, and fails closed: a check
without a proper end has failed, and so has whatever was being checked when an event came that
should not have come.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from mlruntime.validation.report import CheckResult, Status

# Seconds the program may take to start, between two checks, and to end.
PAUSE_SECONDS: Final = 60.0
# A factor that is hardly larger than before gives a check no time worth mentioning.
_WORTHWHILE: Final = 1.1


class Planned(Protocol):
    """What this module needs to know of a check; ``timeout`` in seconds.

    ``needs`` are components: it belongs only to variants that have all of them; ``gpus`` is how
    many it must be given; ``flavour`` the one that the image must have.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def timeout(self) -> float: ...  # noqa: D102
    @property
    def needs(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def gpus(self) -> int: ...  # noqa: D102
    @property
    def flavour(self) -> str: ...  # noqa: D102


class ProtocolError(Exception):
    """The program said something that it must not say."""

    def __init__(self, what: str, check: str | None = None) -> None:
        super().__init__(what)
        self.check = check


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckStarted:
    """A check began."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckEnded:
    """A check ended in the way that it reports."""

    result: CheckResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """The program has nothing left to do."""


Event = CheckStarted | CheckEnded | Done


@dataclass(slots=True)
class RunState:
    """The state of one validation. All times are seconds of one monotonic clock.

    Every time limit is multiplied by ``factor``.
    """

    planned: Sequence[Planned]
    factor: float = 1.0
    results: dict[str, CheckResult] = field(default_factory=dict)
    running: str | None = None
    _since: float = 0.0
    _started_any: bool = False
    _barren: int = 0
    _done: bool = False

    @property
    def remaining(self) -> tuple[str, ...]:
        """Return the names that have no result yet, in order."""
        return tuple(p.name for p in self.planned if p.name not in self.results)

    def begin(self, now: float) -> None:
        """Note that a new process was started with the remaining names."""
        self.running, self._since, self._started_any, self._done = None, now, False, False

    def lasting(self, now: float) -> float:
        """Return for how long the running check, or the pause between two, has lasted."""
        return now - self._since

    @property
    def deadline(self) -> float:
        """Return when the running check, or the pause between two, has lasted too long."""
        return self._since + self._limit

    @property
    def _limit(self) -> float:
        return self._plain_limit * self.factor

    @property
    def _plain_limit(self) -> float:
        limits = {p.name: p.timeout for p in self.planned}
        return limits[self.running] if self.running else PAUSE_SECONDS

    def stretch(self, factor: float) -> bool:
        """Take a larger factor from here on; return whether that makes a difference now."""
        if factor < self.factor * _WORTHWHILE:
            return False
        self.factor = factor
        return True

    @property
    def _limit_text(self) -> str:
        if self.factor == 1:
            return f"{self._limit:g} s"
        return f"{self._limit:g} s ({self._plain_limit:g} s, multiplied by {self.factor:g})"

    def read(self, line: str, now: float) -> Event:
        """Process one line of the program; raise ``ProtocolError`` if it is not allowed there."""
        event = parse_event(line)
        if self._done:
            raise ProtocolError("the program went on after it said that it was done")
        if isinstance(event, CheckStarted):
            self._start(event.name, now)
        elif isinstance(event, CheckEnded):
            self._end(event.result, now)
        else:
            if self.running:
                raise ProtocolError("the program said that it was done in the middle of a check")
            self._done, self._since = True, now
        return event

    def _start(self, name: str, now: float) -> None:
        self._known(name)
        if self.running:
            raise ProtocolError(f"{name} started before {self.running} had ended")
        if name in self.results:
            raise ProtocolError(f"{name} started a second time", name)
        self.running, self._since, self._started_any, self._barren = name, now, True, 0

    def _end(self, result: CheckResult, now: float) -> None:
        self._known(result.name)
        if result.name in self.results:
            raise ProtocolError(f"{result.name} ended a second time", result.name)
        if result.name != self.running:
            raise ProtocolError(f"{result.name} ended without having started", result.name)
        self.results[result.name] = result
        self.running, self._since = None, now

    def _known(self, name: str) -> None:
        if name not in {p.name for p in self.planned}:
            raise ProtocolError(f"the program reports a check that nobody asked for: {name!r}")

    # failures that come from outside the check program

    def violated(self, error: ProtocolError, now: float) -> tuple[CheckResult, ...]:
        """Fail the check that ``error`` names, and the running (else the next) one.

        So every process that is started for the remaining checks leaves fewer of them.
        """
        names = [p.name for p in self.planned if p.name == error.check]
        current = self.running or next(iter(self.remaining), None)
        if current and current not in names:
            names.append(current)
        what = f"protocol error: {error}"
        return tuple(self._fail(name, what, now) for name in names or [self.planned[-1].name])

    def expired(self, tail: str, now: float) -> CheckResult:
        """Fail what has lasted too long; ``tail`` are the last lines of the program's log."""
        if self.running:
            what = f"did not end within its {self._limit_text} and was killed"
            return self._fail(self.running, _with_log(what, tail), now)
        if not self.remaining:
            what = "its program did not end after its last check and was killed"
            return self._last(_with_log(what, tail), now)
        what = f"its program was silent for {self._limit_text} before it and was killed"
        return self._fail(self.remaining[0], _with_log(what, tail), now)

    def exited(self, code: int, tail: str, now: float) -> tuple[CheckResult, ...]:
        """Note the end of the process; return the results of the checks that this fails.

        Afterwards, ``remaining`` is what another process should be started for.
        """
        end = f"its process {ending(code)}"
        if self.running:
            return (self._fail(self.running, _with_log(end, tail), now),)
        if not self.remaining:
            if self._done and code == 0:
                return ()
            return (self._last(_with_log(f"{end} after its last check", tail), now),)
        if self._done:
            return self._fail_all("the program said it was done without running it", now)
        # One check may break the program while it is loaded. If the next does too, all would.
        self._barren += not self._started_any
        if self._barren > 1:
            return self._fail_all(_with_log(f"the program does not start: {end}", tail), now)
        return (self._fail(self.remaining[0], _with_log(f"{end} before it started", tail), now),)

    def lost(self, reason: str, log: str, now: float) -> tuple[CheckResult, ...]:
        """Fail the running check because of ``reason``, and all that have not started yet."""
        failed = [self._fail(self.running, _with_log(reason, log), now)] if self.running else []
        return (*failed, *self._fail_all(f"not started, because {reason}", now))

    def spoil(self, name: str, reason: str, log: str, now: float) -> CheckResult:
        """Fail a check that has just ended, whatever it said."""
        return self._fail(name, _with_log(reason, log), now)

    def _fail_all(self, error: str, now: float) -> tuple[CheckResult, ...]:
        return tuple(self._fail(name, error, now) for name in self.remaining)

    def _last(self, error: str, now: float) -> CheckResult:
        return self._fail(self.planned[-1].name, error, now)

    def _fail(self, name: str, error: str, now: float) -> CheckResult:
        before = self.results.get(name)
        if before and before.error:
            error = f"{error}\n{before.error}"
        seconds = now - self._since if name == self.running else before.seconds if before else 0.0
        if name == self.running:
            self.running, self._since = None, now
        self.results[name] = failed(name, error, seconds, before.detail if before else {})
        return self.results[name]


def failed(
    name: str, error: str, seconds: float = 0.0, detail: Mapping[str, Any] | None = None
) -> CheckResult:
    """Return the result of a check that failed."""
    return CheckResult(
        name=name, status="failed", seconds=seconds, detail=detail or {}, error=error
    )


def ending(code: int) -> str:
    """Say how a process ended; shells and engines report signal n as 128 + n."""
    signals = {134: "aborted", 137: "was killed", 139: "segmentation fault", 143: "terminated"}
    return f"exited with {code}" + (f" ({signals[code]})" if code in signals else "")


def _with_log(error: str, tail: str) -> str:
    return f"{error}\n{tail}" if tail else error


def parse_event(line: str) -> Event:
    """Read one line; anything but exactly the documented form raises ``ProtocolError``."""
    try:
        value = json.loads(line, parse_constant=_number, parse_float=_number)
        # A lone surrogate cannot be encoded as UTF-8, so it could not be written to a report.
        value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except ValueError:
        raise ProtocolError(f"not an event: {line[:200]!r}") from None
    kind = value.get("event") if isinstance(value, dict) else None
    if kind == "start" and set(value) == {"event", "check"} and isinstance(value["check"], str):
        return CheckStarted(name=value["check"])
    if kind == "done" and set(value) == {"event"}:
        return Done()
    if kind == "end":
        return CheckEnded(result=_result(value, line))
    raise ProtocolError(f"not an event: {line[:200]!r}")


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _result(value: Mapping[str, Any], line: str) -> CheckResult:
    if set(value) != {"event", "check", "status", "seconds", "detail", "error"}:
        raise ProtocolError(f"not the keys of an end event: {line[:200]!r}")
    name, seconds, error = value["check"], value["seconds"], value["error"]
    statuses: dict[Any, Status] = {"passed": "passed", "failed": "failed"}
    sound = (
        isinstance(name, str)
        and isinstance(value["status"], str)
        and value["status"] in statuses
        and isinstance(seconds, int | float)
        and not isinstance(seconds, bool)
        and seconds >= 0
        and isinstance(value["detail"], dict)
        and (error is None or (isinstance(error, str) and error.strip() != ""))
        and (error is None) == (value["status"] == "passed")
    )
    if not sound:
        raise ProtocolError(
            f"not a sound end event: {line[:200]!r}", name if isinstance(name, str) else None
        )
    return CheckResult(
        name=name,
        status=statuses[value["status"]],
        seconds=float(seconds),
        detail=value["detail"],
        error=error,
    )
