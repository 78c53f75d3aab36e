"""Release notes, generated from a lock and the one before. Core: a pure function."""

from collections.abc import Iterable, Iterator, Mapping

from mlruntime.definitions.lifecycle import Lifecycle
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact
from mlruntime.release.channels import Released
from mlruntime.release.policy import Allowed
from mlruntime.release.pulls import PullSizes
from mlruntime.release.versions import Step, all_artifacts
from mlruntime.validation.reading import ReportSummary


def notes(
    version: str,
    images: Iterable[tuple[str, str, Lock, ReportSummary, str]],
    step: Step,
    before: Lock | None,
    allowed: Iterable[Allowed] = (),
    left_out: Mapping[str, str] | None = None,
    lifecycle: Lifecycle | None = None,
    accepted: Iterable[str] = (),
    pulls: Iterable[PullSizes] = (),
) -> str:
    """Return Markdown; ``images`` are (name, variant, lock, outcome of validation, digest).

    ``left_out`` says of packages which of their files no image has, and why; ``lifecycle`` are
    the dates of support, ``accepted`` the known vulnerabilities that it is released with, ``pulls``
    what is pulled of each image.
    """
    named, sized = tuple(images), tuple(pulls)
    lock = named[0][2]
    sections = [
        [f"# {version}"],
        ["## New in this version", *(f"- {reason}" for reason in step.reasons)],
        ["## Removed", *_removed(before, lock)] if _removed(before, lock) else [],
        ["## System environment", *_table(("component", "version"), _components(lock))],
        *(
            [f"## Libraries of `{name}`", *_table(("package", "version"), _libraries(own, variant))]
            for name, variant, own, _, _ in named
        ),
        ["## Support", *_support(lifecycle)] if lifecycle else [],
        ["## Known issues", *_issues(lock, allowed, left_out or {}, accepted)],
        ["## Tested", *(f"- `{name}`: {_tested(outcome)}" for name, _, _, outcome, _ in named)],
        ["## Size", *(f"- `{p.name}`: {p.to_text()}" for p in sized)] if sized else [],
        ["## Images", *_table(("image", "digest"), ((f"`{i[0]}`", f"`{i[4]}`") for i in named))],
    ]
    return "\n\n".join("\n".join(_spaced(section)) for section in sections if section) + "\n"


def changelog(runtime: str, versions: Iterable[tuple[Released, Iterable[str]]]) -> str:
    """Return Markdown: each version with its day and what changed in it, in the order given."""
    parts = [[f"# Changelog of {runtime}"]]
    for released, reasons in versions:
        gone = [f"Retired: {released.retired}", ""] if released.retired is not None else []
        day = released.released.partition("T")[0]
        parts.append([f"## {released.version.text} - {day}", *gone, *(f"- {r}" for r in reasons)])
    return "\n\n".join("\n".join(_spaced(part)) for part in parts) + "\n"


def _spaced(section: list[str]) -> list[str]:
    return [section[0], "", *section[1:]] if len(section) > 1 else section


def _table(columns: tuple[str, str], rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"| {columns[0]} | {columns[1]} |", "| --- | --- |"]
    return lines + [f"| {a} | {b} |" for a, b in rows]


def _components(lock: Lock) -> Iterator[tuple[str, str]]:
    absent = {omission.component for omission in lock.all_omitted}
    for name, version in sorted(lock.all_components.items()):
        yield name, "left out" if name in absent else version


def _libraries(lock: Lock, variant: str) -> list[tuple[str, str]]:
    whole = lock.whole(variant)
    artifacts: tuple[Artifact, ...] = (*whole.python, *whole.jars)
    found = [(a.name, a.version) for a in artifacts]
    return sorted({*found, *((wheel.name, wheel.version) for wheel in whole.native)})


def _removed(before: Lock | None, lock: Lock) -> list[str]:
    if before is None:
        return []
    gone = all_artifacts(before).keys() - all_artifacts(lock).keys()
    return [f"- {name}" + (f" ({variant})" if variant else "") for _, name, variant in sorted(gone)]


def _issues(
    lock: Lock, allowed: Iterable[Allowed], left_out: Mapping[str, str], accepted: Iterable[str]
) -> list[str]:
    found = [f"- {o.component} is not in the image: {o.why}" for o in lock.all_omitted]
    found += [f"- {name} comes without {what}" for name, what in sorted(left_out.items())]
    found += [f"- not tested: `{a.check}`. {a.why}" for a in allowed]
    found += [f"- {line}" for line in accepted]
    return found or ["None are known."]


def _support(lifecycle: Lifecycle) -> Iterator[str]:
    """Yield the dates, as they were when this was released."""
    if lifecycle.released:
        yield f"- released: {lifecycle.released}"
    if lifecycle.end_of_support:
        yield f"- last day of support: {lifecycle.end_of_support}. Until then there are fixes."
    if lifecycle.end_of_life:
        yield f"- end of life: {lifecycle.end_of_life}. Until then its versions can be pulled."


def _tested(outcome: ReportSummary) -> str:
    total = len(outcome.passed) + len(outcome.failed) + len(outcome.not_run)
    text = f"{len(outcome.passed)} of {total} checks passed on {outcome.workers} workers"
    names = ", ".join(f"`{name}`" for name, _ in outcome.not_run)
    return text + (f"; not run: {names}" if names else "")
