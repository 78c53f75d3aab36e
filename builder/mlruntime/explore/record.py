"""What is known of one combination: a state machine of four levels. Core: no I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mlruntime.documents.reading import Location, read_json
from mlruntime.errors import UsageError
from mlruntime.explore.diagnosis import Failure
from mlruntime.validation.report import Report

FORMAT: Final = 1
# Each stage, if it succeeds, attains one level.
STAGES: Final = ("resolve", "lock", "build", "validate")
LEVELS: Final = ("resolved", "locked", "built", "cluster")
GOAL: Final = LEVELS[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Checks:
    """The checks of a validation: the names by how they ended, and on how many workers."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]
    not_run: tuple[str, ...]
    workers: int

    @property
    def all_passed(self) -> bool:
        """Return whether there were checks and every one of them passed."""
        return bool(self.passed) and not self.failed and not self.not_run


@dataclass(frozen=True, kw_only=True, slots=True)
class CombinationRecord:
    """One combination as far as it has come.

    ``axes`` are the releases it is about, ``versions`` those of all components once resolved,
    ``key`` identifies everything it was tried with. ``level`` is the last level attained, if any;
    ``failure`` says which stage failed, and then nothing more can follow. ``image`` is the
    digest of the OCI manifest, ``seconds`` what each stage took, ``date`` the day of the last.
    """

    name: str
    runtime: str
    axes: tuple[tuple[str, str], ...]
    key: str
    level: str | None = None
    versions: tuple[tuple[str, str], ...] = ()
    omitted: tuple[str, ...] = ()
    lock: str | None = None
    image: str | None = None
    checks: Checks | None = None
    failure: Failure | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    date: str | None = None

    @property
    def reached(self) -> int:
        """Return how many stages have succeeded."""
        return 0 if self.level is None else LEVELS.index(self.level) + 1

    @property
    def text(self) -> str:
        """Return the combination as people write it."""
        return ", ".join(f"{component} {version}" for component, version in self.axes)

    def ended(self, goal: str = GOAL) -> bool:
        """Return whether there is nothing left to do on the way to ``goal``."""
        return self.failure is not None or self.reached > LEVELS.index(goal)

    def attained(
        self, stage: str, *, seconds: float, date: str, **found: Any
    ) -> "CombinationRecord":
        """Return the record after a stage that succeeded; it must be the next one."""
        self._must_be_next(stage)
        return self._after(stage, seconds, date, level=LEVELS[STAGES.index(stage)], **found)

    def failed(
        self, failure: Failure, *, seconds: float, date: str, **found: Any
    ) -> "CombinationRecord":
        """Return the record after a stage that failed; the level stays what it was."""
        self._must_be_next(failure.stage)
        return self._after(failure.stage, seconds, date, failure=failure, **found)

    def validated(
        self, report: Report, *, seconds: float, date: str, log: str
    ) -> "CombinationRecord":
        """Return the record after a validation: ``cluster`` only if every check has passed."""
        checks = checks_of(report)
        if checks.all_passed:
            return self.attained("validate", seconds=seconds, date=date, checks=checks)
        wrong = [c for c in report.checks if c.status != "passed"]
        named = [f"{c.name}: {c.message}" for c in wrong] or ["there was no check at all"]
        count = f"{len(checks.failed)} failed, {len(checks.not_run)} not run"
        failure = Failure(
            stage="validate",
            kind="checks failed" if checks.failed or not wrong else "checks not run",
            what=f"of {len(report.checks)} checks, {count}",
            lines=tuple(named),
            log=log,
        )
        return self.failed(failure, seconds=seconds, date=date, checks=checks)

    def again(self) -> "CombinationRecord":
        """Return the record with its failure forgotten: the stage that failed is to be tried."""
        return replace(self, failure=None, checks=None)

    def _must_be_next(self, stage: str) -> None:
        if self.failure is not None or STAGES[self.reached :][:1] != (stage,):
            raise ValueError(f"{self.name}: {stage} cannot follow {self.level}, {self.failure}")

    def _after(self, stage: str, seconds: float, date: str, **found: Any) -> "CombinationRecord":
        taken = {**self.seconds, stage: round(seconds, 1)}
        return replace(self, seconds=taken, date=date, **found)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        checks = self.checks and {
            "passed": list(self.checks.passed),
            "failed": list(self.checks.failed),
            "not_run": list(self.checks.not_run),
            "workers": self.checks.workers,
        }
        return {
            "format": FORMAT,
            "name": self.name,
            "runtime": self.runtime,
            "axes": dict(self.axes),
            "key": self.key,
            "level": self.level,
            "failure": self.failure.to_dict() if self.failure else None,
            "versions": dict(self.versions),
            "omitted": list(self.omitted),
            "lock": self.lock,
            "image": self.image,
            "checks": checks,
            "seconds": dict(self.seconds),
            "date": self.date,
        }


def checks_of(report: Report) -> Checks:
    """Return a report's checks by how they ended."""

    def names(status: str) -> tuple[str, ...]:
        return tuple(check.name for check in report.checks if check.status == status)

    return Checks(
        passed=names("passed"),
        failed=names("failed"),
        not_run=names("not-run"),
        workers=report.workers,
    )


def parse_record(text: str, *, file: str) -> CombinationRecord:
    """Read a record; anything else raises ``UsageError`` with its place."""
    top = read_json(text, file=file, error=UsageError)
    top.keys(
        ("format", "name", "runtime", "axes", "key", "level", "failure", "versions", "omitted",
         "lock", "image", "checks", "seconds", "date"),
        ("report",),
    )  # fmt: skip
    if top.get("format").integer() != FORMAT:
        raise top.get("format").fail(
            f"record format {top.get('format').value} is not known", hint="remove the file"
        )
    level, failure, checks = top.maybe("level"), top.maybe("failure"), top.maybe("checks")
    return CombinationRecord(
        name=top.get("name").text(),
        runtime=top.get("runtime").text(),
        axes=_pairs(top.get("axes")),
        key=top.get("key").text(),
        level=level.choice(LEVELS) if level else None,
        failure=_failure(failure) if failure else None,
        versions=_pairs(top.get("versions")),
        omitted=top.get("omitted").texts(),
        lock=_optional(top, "lock"),
        image=_optional(top, "image"),
        checks=_checks(checks) if checks else None,
        seconds={key: float(place.value) for key, place in top.get("seconds").items()},
        date=_optional(top, "date"),
    )


def _pairs(place: Location) -> tuple[tuple[str, str], ...]:
    return tuple((key, value.text()) for key, value in place.items())


def _optional(top: Location, key: str) -> str | None:
    found = top.maybe(key)
    return found.text() if found else None


def _failure(place: Location) -> Failure:
    place.keys(("stage", "kind", "what", "lines", "log"))
    return Failure(
        stage=place.get("stage").choice(STAGES),
        kind=place.get("kind").text(),
        what=place.get("what").text(),
        lines=tuple(str(item.value) for item in place.get("lines").each()),
        log=_optional(place, "log"),
    )


def _checks(place: Location) -> Checks:
    place.keys(("passed", "failed", "not_run", "workers"))
    return Checks(
        passed=place.get("passed").texts(),
        failed=place.get("failed").texts(),
        not_run=place.get("not_run").texts(),
        workers=place.get("workers").integer(),
    )
