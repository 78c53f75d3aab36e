"""Reading a validation's report back from its JSON form. Core: no I/O."""

from dataclasses import dataclass

from mlruntime.documents.reading import read_json
from mlruntime.documents.schema import Form, Natural, Text, checked, moment
from mlruntime.errors import InvalidDefinition
from mlruntime.validation.report import FORMAT, Status


class _Open(Form, frozen=True, rename=None, forbid_unknown_fields=False):
    """A form that may have more keys: reports have numbers that are for people alone."""


class CheckForm(_Open, frozen=True):
    """How one check ended."""

    name: Text
    status: Status
    error: str | None = None


class ReportForm(_Open, frozen=True):
    """The JSON of ``mlruntime validate --report``, as far as others rely on it."""

    format: Natural
    runtime: Text
    variant: Text
    manifest: str | None
    lock: Text
    workers: Natural
    started: Text
    passed: Natural
    failed: Natural
    not_run: Natural
    checks: list[CheckForm]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportSummary:
    """What a report says: of which image, and how each check ended.

    ``manifest`` and ``lock`` are digests, ``started`` RFC 3339 in UTC; ``failed`` and ``not_run``
    have a reason for each name.
    """

    runtime: str
    variant: str
    manifest: str | None
    lock: str
    workers: int
    started: str
    passed: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    not_run: tuple[tuple[str, str], ...]


def parse_report(text: str, *, file: str) -> ReportSummary:
    """Read a report, or raise ``InvalidDefinition`` with the place of the first mistake.

    Its numbers of passed, failed and unrun checks must be those of its checks.
    """
    top = read_json(text, file=file)
    form = checked(ReportForm, top)
    if form.format != FORMAT:
        raise top.get("format").fail(
            f"format {form.format} is not known; this mlruntime reads {FORMAT}"
        )
    names = [check.name for check in form.checks]
    if len(set(names)) < len(names):
        raise top.get("checks").fail("a check is listed twice")

    def told(status: str) -> tuple[tuple[str, str], ...]:
        return tuple((c.name, c.error or "") for c in form.checks if c.status == status)

    passed, failed, not_run = (told(status) for status in ("passed", "failed", "not-run"))
    if (form.passed, form.failed, form.not_run) != (len(passed), len(failed), len(not_run)):
        raise InvalidDefinition(
            "its totals are not those of its checks", where=file, why="it was edited, or cut"
        )
    return ReportSummary(
        runtime=form.runtime,
        variant=form.variant,
        manifest=form.manifest,
        lock=form.lock,
        workers=form.workers,
        started=moment(form.started, top.get("started")),
        passed=tuple(name for name, _ in passed),
        failed=failed,
        not_run=not_run,
    )
