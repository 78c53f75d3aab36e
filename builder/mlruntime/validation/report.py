"""What a validation found: the model, and its JSON, JUnit XML and readable forms. Core: no I/O."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from xml.etree import ElementTree

from mlruntime.validation.pace import Pace

FORMAT: Final = 1

Status = Literal["passed", "failed", "not-run"]

MARKS: Final[Mapping[str, str]] = {"passed": "ok", "failed": "FAILED", "not-run": "not run"}


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """How one check ended.

    ``detail`` holds the numbers it compared. ``error`` says what went wrong with a failed one
    (first line the message, the rest a traceback or log), or why one was not run; it is ``None``
    exactly when the check passed.
    """

    name: str
    status: Status
    seconds: float
    detail: Mapping[str, Any]
    error: str | None

    def __post_init__(self) -> None:
        if (self.error is None) != (self.status == "passed"):
            raise ValueError(f"{self.name}: {self.status} with error {self.error!r}")

    @property
    def family(self) -> str:
        """Return the part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def message(self) -> str:
        """Return the first line of the error."""
        return (self.error or "").strip().partition("\n")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedHost:
    """Where it ran, without naming it; ``memory`` in bytes."""

    kernel: str
    cpus: int
    memory: int
    engine: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One validation of one image.

    ``image`` is the engine's image id, ``manifest`` the digest of its OCI manifest where that
    is known, ``started`` RFC 3339 in UTC, ``seconds`` the whole time from bringing up the
    cluster to its last check. ``pace`` says by how much time limits were stretched, and why.
    ``place`` says on which cluster it ran.
    """

    runtime: str
    variant: str
    image: str
    manifest: str | None
    lock: str
    workers: int
    host: ReportedHost
    started: str
    seconds: float
    checks: tuple[CheckResult, ...]
    pace: Pace = field(default_factory=Pace)
    place: str = "containers"

    def count(self, status: Status) -> int:
        """Return how many checks ended so."""
        return sum(check.status == status for check in self.checks)

    @property
    def exit_code(self) -> int:
        """Return 7 when a check failed (or none was run), else 8 when one was not run, else 0."""
        if self.count("failed") or not self.checks:
            return 7
        return 8 if self.count("not-run") else 0

    @property
    def summary(self) -> str:
        """Return one line: how many passed, failed and were not run, and the time it took."""
        counts = [f"{self.count('passed')} of {len(self.checks)} checks passed"]
        counts += [f"{self.count('failed')} failed"] if self.count("failed") else []
        counts += [f"{self.count('not-run')} not run"] if self.count("not-run") else []
        return f"{', '.join(counts)} in {self.seconds:.1f} s"

    def to_dict(self) -> dict[str, Any]:
        """Return the documented JSON form."""
        return {
            "format": FORMAT,
            "runtime": self.runtime,
            "variant": self.variant,
            "image": self.image,
            "manifest": self.manifest,
            "lock": self.lock,
            "workers": self.workers,
            "place": self.place,
            "host": {
                "kernel": self.host.kernel,
                "cpus": self.host.cpus,
                "memory": self.host.memory,
                "engine": self.host.engine,
            },
            "time_limits": {"multiplied_by": self.pace.factor, "why": self.pace.why},
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "passed": self.count("passed"),
            "failed": self.count("failed"),
            "not_run": self.count("not-run"),
            "checks": [
                {
                    "name": check.name,
                    "status": check.status,
                    "seconds": round(check.seconds, 3),
                    "detail": dict(check.detail),
                    "error": check.error,
                }
                for check in self.checks
            ],
        }

    def to_json(self) -> str:
        """Return the JSON file's text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_junit(self) -> str:
        """Return JUnit XML: one suite per family, failed checks as failures, not run as skipped."""
        top = ElementTree.Element(
            "testsuites", {"name": "mlruntime validate", **_counts(self.checks)}
        )
        for family, checks in _by_family(self.checks).items():
            named = {"name": family, "timestamp": self.started, **_counts(checks)}
            suite = ElementTree.SubElement(top, "testsuite", named)
            properties = ElementTree.SubElement(suite, "properties")
            for key in ("runtime", "variant", "image", "manifest", "lock"):
                value = getattr(self, key) or ""
                ElementTree.SubElement(properties, "property", name=key, value=value)
            for check in checks:
                _junit_case(suite, check)
        ElementTree.indent(top)
        text = ElementTree.tostring(top, encoding="unicode")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'

    def to_text(self, width: int = 100) -> str:
        """Return the table for people, lines at most ``width`` wide, errors in full below it."""
        name = max([len(check.name) for check in self.checks] + [5])
        rows = [f"{'check':<{name}}  {'result':<7}  {'seconds':>7}  numbers"]
        for check in self.checks:
            told = check.message if check.error else numbers(check.detail)
            row = f"{check.name:<{name}}  {MARKS[check.status]:<7}  {check.seconds:>7.2f}  {told}"
            rows.append(_shortened(row.rstrip(), width))
        for check in self.checks:
            if check.status == "failed":
                rows += ["", f"{check.name}: {(check.error or '').strip()}"]
        reasons = dict.fromkeys(c.error for c in self.checks if c.status == "not-run")
        rows += [line for why in reasons for line in ("", f"not run: {why}")]
        rows += [
            "",
            f"runtime  {self.runtime} ({self.variant}), {self.workers} workers on {self.place}",
            f"image    {self.manifest or self.image}",
            f"lock     {self.lock}",
            f"host     {self.host.cpus} CPUs, {self.host.memory / 2**30:.1f} GiB,"
            f" Linux {self.host.kernel}, {self.host.engine}",
        ]
        if self.pace.why:
            rows.append(f"limits   multiplied by {self.pace.factor:g}: {self.pace.why}")
        rows.append(self.summary)
        return "\n".join(rows)


def numbers(detail: Mapping[str, Any]) -> str:
    """Return a check's numbers on one line: ``key=value``, floats to four digits."""
    return " ".join(f"{key}={_brief(value)}" for key, value in detail.items())


def _brief(value: Any) -> str:
    if isinstance(value, Mapping) and "got" in value:
        return _brief(value["got"])
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_brief(item) for item in value) + "]"
    return str(value) if isinstance(value, str | int) or value is None else json.dumps(value)


def _shortened(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"


def _by_family(checks: Sequence[CheckResult]) -> dict[str, list[CheckResult]]:
    families: dict[str, list[CheckResult]] = {}
    for check in checks:
        families.setdefault(check.family, []).append(check)
    return families


def _counts(checks: Sequence[CheckResult]) -> dict[str, str]:
    return {
        "tests": str(len(checks)),
        "failures": str(sum(c.status == "failed" for c in checks)),
        "errors": "0",
        "skipped": str(sum(c.status == "not-run" for c in checks)),
        "time": f"{sum(c.seconds for c in checks):.3f}",
    }


def _junit_case(suite: ElementTree.Element, check: CheckResult) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=f"mlruntime.{check.family}",
        name=check.name,
        time=f"{check.seconds:.3f}",
    )
    if check.status == "failed":
        attributes = {"message": _xml(check.message), "type": "failed"}
        failure = ElementTree.SubElement(case, "failure", attributes)
        failure.text = _xml(check.error or "")
    elif check.status == "not-run":
        ElementTree.SubElement(case, "skipped", message=_xml(check.message))
    if check.detail:
        ElementTree.SubElement(case, "system-out").text = _xml(
            json.dumps(dict(check.detail), ensure_ascii=False)
        )


def _xml(text: str) -> str:
    """Replace the characters that XML 1.0 cannot carry at all, escaped or not."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
