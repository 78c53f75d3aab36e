"""From a report to an image that may be released: proven, built again, every file attributed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from mlruntime import __version__
from mlruntime.definitions.files import Definitions
from mlruntime.errors import MlruntimeError, UsageError, ValidationFailed
from mlruntime.host.command import run
from mlruntime.lock.model import CORE, Lock
from mlruntime.release.advisories import Known
from mlruntime.release.attribution import attribute
from mlruntime.release.documents import Candidate
from mlruntime.release.evidence import evidence
from mlruntime.release.inside import Inside
from mlruntime.release.policy import POLICY_FILE, Policy, must_be_proven
from mlruntime.release.statements import Built, in_image
from mlruntime.release.vex import Excepted, excepted
from mlruntime.release.vulnerabilities import (
    NOT_RUN,
    looked_up,
    must_be_safe,
    to_json,
    vulnerabilities,
)
from mlruntime.validation.catalog import CHECKS
from mlruntime.validation.reading import ReportSummary
from mlruntime.validation.session import planned
from mlruntime.workflows.build import build_locked, reference
from mlruntime.workflows.host import Host
from mlruntime.workflows.inputs import read_matrix, support
from mlruntime.workflows.locked import fresh_lock
from mlruntime.workflows.rebuild import rebuilt
from mlruntime.workflows.release.inputs import Reported

# What an image is made from, and released by, below the root of the definitions.
DEFINITIONS: Final = ("matrix.yaml", "images", "runtimes", POLICY_FILE)
# What ``Definitions`` passes over, too.
_BYTECODE: Final = ":(exclude,glob)**/__pycache__/**"


@dataclass(frozen=True, kw_only=True, slots=True)
class Demands:
    """What is demanded of an image before it is released, today.

    With ``rebuild`` it is built once more in a second store, and must be the same to the bit.
    ``known`` are advisories: those of the level ``worst`` or above must have been accepted.
    """

    policy: Policy
    today: date
    rebuild: bool = True
    known: Known | None = None
    worst: str = "high"


def candidates(
    definitions: Definitions,
    runtime: str,
    reports: Iterable[Reported],
    host: Host,
    demands: Demands,
) -> tuple[Candidate, ...]:
    """Return the images of a runtime that have a report, each proven and every file attributed.

    Raises ``UsageError`` without a report of it, and what ``_candidate`` raises.
    """
    every = fresh_lock(definitions, runtime)
    ours = [report for report in reports if report.outcome.runtime == runtime]
    if not ours:
        raise UsageError(
            f"there is no report of {runtime}",
            why="what was not validated is not released",
            hint=f"`mlruntime validate {runtime} --report FILE`, then --report FILE here",
        )
    commit = revision(definitions.root, host.say)
    made = [
        _candidate(definitions, _lock_of(every, one.outcome), one, host, demands, commit)
        for one in ours
    ]
    return tuple(sorted(made, key=lambda c: c.tag))


def _candidate(
    definitions: Definitions,
    lock: Lock,
    report: Reported,
    host: Host,
    demands: Demands,
    commit: str | None,
) -> Candidate:
    """Return the image that a report is of, as these definitions of a ``commit`` make it.

    Raises what ``must_be_proven`` and ``_examined`` raise, and ``ValidationFailed`` for a file that
    is nobody's or an image that is not the same when it is built again.
    """
    outcome, variant = report.outcome, report.outcome.variant
    where = f"{lock.runtime} ({variant}, {lock.flavour})"
    built = build_locked(
        definitions, lock, variant, host, reference=reference(lock.runtime, variant, lock.flavour)
    )
    must_be_proven(
        outcome,
        demands.policy,
        manifest=built.image.manifest.digest,
        lock=lock.digest,
        checks=planned(CHECKS, (), lock, variant).names,
        today=demands.today,
        file=report.file,
    )
    if demands.rebuild:
        rebuilt(definitions, lock, built.plan, built.image, host.store, say=host.say)
    host.say(f"{where}: whose is each file?")
    owned = attribute(built.image, built.plan, host.store)
    if owned.nobody:
        raise ValidationFailed(
            f"{len(owned.nobody)} files of the image are no package's and not ours",
            where=where,
            why=", ".join(owned.nobody[:5]),
        )
    inside = owned.inside.beside(in_image(lock, variant))
    vulnerable, accepted = _examined(lock, variant, inside, demands, host.say, where)
    found = (demands.policy.allows(name, demands.today) for name, _ in outcome.not_run)
    return Candidate(
        variant=variant,
        image=built.image,
        blobs=host.store,
        lock=lock,
        plan=built.plan,
        outcome=outcome,
        report=report.text,
        built=Built(tool=__version__, plan=built.plan.digest, revision=commit),
        licences=owned.licences,
        vulnerabilities=vulnerable,
        inside=inside,
        allowed=tuple(dict.fromkeys(entry for entry in found if entry is not None)),
        lifecycle=support(definitions, lock.runtime),
        excepted=accepted,
        author=demands.policy.author,
        evidence=evidence(read_matrix(definitions).rules, lock),
    )


def _examined(
    lock: Lock,
    variant: str,
    inside: Inside,
    demands: Demands,
    say: Callable[[str], None],
    where: str,
) -> tuple[str, tuple[Excepted, ...]]:
    """Return the document of an image's vulnerabilities, and those that it is released with.

    Raises what ``excepted`` and ``must_be_safe`` raise.
    """
    known, policy = demands.known, demands.policy
    unsafe = vulnerabilities(lock, variant, known, inside) if known is not None else ()
    looked = looked_up(lock, variant, known, inside)
    for one in looked if known is not None else ():
        if one.status == NOT_RUN:
            say(f"{where}: vulnerabilities of {one.ecosystem}, {one.packages} packages:"
                f" not run, {one.why}")  # fmt: skip
    accepted = excepted(
        lock,
        variant,
        policy,
        unsafe,
        inside=inside,
        looked=all(one.status == "run" for one in looked),
        today=demands.today,
        where=where,
    )
    must_be_safe(unsafe, policy, worst=demands.worst, today=demands.today, where=where)
    for entry in policy.accepted:
        if not entry.packages and all(entry != one.entry for one in accepted):
            say(f"{where}: {entry.id}, accepted in {POLICY_FILE}, was found in no package")
    return to_json(unsafe, known, looked), accepted


def _lock_of(every: Lock, outcome: ReportSummary) -> Lock:
    """Return the lock of the flavour that a report is of; ``core``'s, when it is of none."""
    cut = (every.cut(flavour) for flavour in every.flavour_names)
    return next((lock for lock in cut if lock.digest == outcome.lock), every.cut(CORE))


def revision(root: Path, say: Callable[[str], None]) -> str | None:
    """Return the git commit of the definitions; ``None``, and why, if there is none that has them.

    Other files of the repository may be changed, or new: reports, for one. Among the definitions
    one that git ignores is read like any other, and is in no commit.
    """
    git = ["env", "LC_ALL=C", "git", "-C", str(root)]
    try:
        status = ["status", "--porcelain", "--ignored", "--", *DEFINITIONS, _BYTECODE]
        changed = run([*git, *status]).splitlines()
        run([*git, "ls-files", "--error-unmatch", "matrix.yaml"])  # not one that ignores them
        commit = run([*git, "rev-parse", "HEAD"]).strip()
    except MlruntimeError as problem:
        say(f"the provenance names no git commit: {problem.what}")
        return None
    if changed:
        listed = ", ".join(line[3:] for line in changed[:5])
        say(f"the provenance names no git commit: not committed are {listed}")
        return None
    return commit
