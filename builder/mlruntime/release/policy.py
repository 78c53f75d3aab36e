"""What may be released: ``release.yaml``, and whether a validation is good enough. Core: no I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final

from mlruntime.documents.reading import read_yaml
from mlruntime.documents.schema import Form, Text, checked, described
from mlruntime.errors import ValidationFailed, ValidationIncomplete
from mlruntime.validation.reading import Outcome

POLICY_FILE: Final = "release.yaml"
Day = Annotated[str, described("a date", r"^\d{4}-\d\d-\d\d$", "2027-06-30")]


class AllowedForm(Form, frozen=True):
    """A check that need not have been run, and until when."""

    check: Text
    why: Text
    until: Day | None = None


class PolicyForm(Form, frozen=True):
    """What may be released though not everything was tested."""

    not_run: list[AllowedForm] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """A check, or a family of them, that need not have been run; ``until`` is the last day."""

    check: str
    why: str
    until: date | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What may be released though it was not run."""

    not_run: tuple[Allowed, ...] = ()

    def allows(self, check: str, today: date) -> Allowed | None:
        """Return the entry that allows a check not to have been run, if there is one."""
        family = check.partition(".")[0]
        for entry in self.not_run:
            if entry.check in (check, family) and (entry.until is None or today <= entry.until):
                return entry
        return None


def parse_policy(text: str, *, file: str) -> Policy:
    """Read ``release.yaml``; raise ``InvalidDefinition`` with the place of the first mistake."""
    top = read_yaml(text, file=file)
    form = checked(PolicyForm, top)
    found = []
    for index, entry in enumerate(form.not_run or ()):
        try:
            until = date.fromisoformat(entry.until) if entry.until else None
        except ValueError as problem:
            place = top.get("not-run").at(index).get("until")
            raise place.fail(f"{entry.until!r} is not a date", why=str(problem)) from None
        found.append(Allowed(check=entry.check, why=entry.why, until=until))
    return Policy(not_run=tuple(found))


def must_be_proven(
    outcome: Outcome,
    policy: Policy,
    *,
    manifest: str,
    lock: str,
    checks: Iterable[str],
    today: date,
    file: str,
) -> None:
    """Raise unless a report is of this very image, and nothing failed or is unrun but allowed.

    ``checks`` are the names of all that there are for the image: a report without one of them
    (``validate --only``) is refused, whatever the policy says.
    ``ValidationFailed`` for a report of another image, too: ours was not validated.
    """
    if outcome.manifest != manifest or outcome.lock != lock:
        of = outcome.manifest or "an image whose manifest it does not tell"
        raise ValidationFailed(
            "this report is not of the image that would be released",
            where=file,
            why=f"it is of {of}, lock {outcome.lock[:19]}; the image is {manifest},"
            f" lock {lock[:19]}",
            hint=f"`mlruntime validate {outcome.runtime} --variant {outcome.variant}"
            " --report FILE` after `mlruntime build --load`",
        )
    if outcome.failed or not outcome.passed:
        raise ValidationFailed(
            f"{len(outcome.failed)} checks failed" if outcome.failed else "no check was run",
            where=file,
            why=_listed(outcome.failed) or "a report without checks proves nothing",
        )
    known = {*outcome.passed, *(name for name, _ in outcome.not_run)}
    if left_out := sorted(set(checks) - known):
        raise ValidationIncomplete(
            f"the report leaves {len(left_out)} checks out",
            where=file,
            why=", ".join(left_out[:8]) + (", …" if len(left_out) > 8 else ""),
            hint="validate the whole image, without --only",
        )
    missing = [(n, why) for n, why in outcome.not_run if policy.allows(n, today) is None]
    if missing:
        raise ValidationIncomplete(
            f"{len(missing)} checks were not run, and {POLICY_FILE} does not allow that",
            where=file,
            why=_listed(missing),
            hint=f"run them, or name each in {POLICY_FILE} under not-run, with the reason",
        )


def _listed(found: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"{name} ({why.partition(chr(10))[0][:100]})" for name, why in found)
