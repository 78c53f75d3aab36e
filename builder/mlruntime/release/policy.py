"""What may be released: ``release.yaml``, and whether a validation is good enough. Core: no I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, get_args

from packaging.utils import canonicalize_name

from mlruntime.documents.reading import Location, read_yaml
from mlruntime.documents.schema import Day, Form, Text, checked, day
from mlruntime.errors import ValidationFailed, ValidationIncomplete
from mlruntime.validation.reading import ReportSummary

POLICY_FILE: Final = "release.yaml"
# What VEX can say; "fixed" is not among it: what is fixed needs no exception.
Status = Literal["not_affected", "affected", "under_investigation"]
Justification = Literal[
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
]


class AllowedForm(Form, frozen=True):
    """A check that need not have been run, and until when."""

    check: Text
    why: Text
    until: Day | None = None


class AcceptedForm(Form, frozen=True):
    """A known vulnerability that is released with, what is said of it (VEX), and until when."""

    id: Text
    why: Text
    until: Day
    status: Status = "under_investigation"
    justification: Justification | None = None
    action: Text | None = None
    packages: list[Text] | None = None


class PolicyForm(Form, frozen=True):
    """What may be released though not everything was tested, or is known to be well."""

    not_run: list[AllowedForm] | None = None
    vulnerabilities: list[AcceptedForm] | None = None
    author: Text | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """A check, or a family of them, that need not have been run; ``until`` is the last day."""

    check: str
    why: str
    until: date | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A vulnerability that is released with; ``until`` is the last day.

    ``status`` and ``justification`` are those of VEX. ``action`` says what to do about one that
    does affect. With ``packages``, it is accepted in these alone.
    """

    id: str
    why: str
    until: date
    status: Status = "under_investigation"
    justification: Justification | None = None
    action: str | None = None
    packages: tuple[str, ...] = ()

    def is_of(self, ids: Iterable[str], package: str) -> bool:
        """Return whether this is about an advisory, by any of its ids, of a package."""
        named = {canonicalize_name(name) for name in self.packages}
        return self.id in set(ids) and (not named or canonicalize_name(package) in named)


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What may be released though it was not run, or has a known vulnerability.

    ``author`` is who says so of vulnerabilities.
    """

    not_run: tuple[Allowed, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    author: str | None = None

    def accepts(self, ids: Iterable[str], package: str, today: date) -> bool:
        """Return whether an advisory of a package, by any of its ids, is accepted today."""
        wanted = set(ids)
        return any(e.is_of(wanted, package) and today <= e.until for e in self.accepted)

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
        place = top.get("not-run").at(index)
        until = day(entry.until, place.get("until")) if entry.until else None
        found.append(Allowed(check=entry.check, why=entry.why, until=until))
    accepting = top.get("vulnerabilities") if form.vulnerabilities else top
    accepted = [
        _accepted(e, accepting.at(index)) for index, e in enumerate(form.vulnerabilities or ())
    ]
    return Policy(not_run=tuple(found), accepted=tuple(accepted), author=form.author)


def _accepted(form: AcceptedForm, place: Location) -> Accepted:
    """Return an exception; VEX has a reason for "not affected", and what to do for "affected"."""
    if (form.status == "not_affected") != (form.justification is not None):
        raise place.fail(
            f"{form.status} {'needs a' if form.justification is None else 'has no'} justification",
            hint=f"with `status: not_affected`, one of {', '.join(get_args(Justification))}",
        )
    if (form.status == "affected") != (form.action is not None):
        raise place.fail(
            f"{form.status} {'needs an' if form.action is None else 'has no'} action",
            hint="with `status: affected`, `action:` tells users what they can do about it",
        )
    return Accepted(
        id=form.id,
        why=form.why,
        until=day(form.until, place.get("until")),
        status=form.status,
        justification=form.justification,
        action=form.action,
        packages=tuple(form.packages or ()),
    )


def must_be_proven(
    outcome: ReportSummary,
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
