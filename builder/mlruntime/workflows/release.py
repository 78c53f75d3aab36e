"""Releasing: from a lock and a report to a version in a registry; channels; verifying."""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mlruntime import __version__
from mlruntime.definitions.files import Definitions, read_bytes, read_text
from mlruntime.documents.oci import INDEX_TYPE, Document
from mlruntime.errors import (
    HashMismatch,
    InvalidDefinition,
    MlruntimeError,
    UsageError,
    ValidationFailed,
)
from mlruntime.host.command import run
from mlruntime.image.plan import left_out
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import CORE, Lock
from mlruntime.registry.client import Repository
from mlruntime.release import documents as names
from mlruntime.release.attribution import attribute
from mlruntime.release.channels import CANDIDATE, Record, Released, tags_of
from mlruntime.release.checking import Answer, Source, check
from mlruntime.release.documents import Candidate
from mlruntime.release.notes import notes
from mlruntime.release.policy import POLICY_FILE, Policy, must_be_proven, parse_policy
from mlruntime.release.publishing import (
    attach_documents,
    index_of,
    push_image,
    read_record,
    refuse_moved,
    settle,
    sign,
    write_record,
)
from mlruntime.release.signing import SigningKey
from mlruntime.release.sources import RegistrySource
from mlruntime.release.statements import Built
from mlruntime.release.versions import RuntimeVersion, Step, first, step
from mlruntime.release.vulnerabilities import (
    Known,
    must_be_safe,
    parse_advisories,
    to_json,
    vulnerabilities,
)
from mlruntime.validation.catalog import CHECKS
from mlruntime.validation.reading import Outcome, parse_report
from mlruntime.validation.session import planned
from mlruntime.workflows.build import build_locked, reference
from mlruntime.workflows.host import Host, Say
from mlruntime.workflows.locked import fresh_lock
from mlruntime.workflows.rebuild import rebuilt


@dataclass(frozen=True, kw_only=True, slots=True)
class Intended:
    """What a release would do: the version, why it is that one, and the tags it would write.

    ``again`` is set when these very images have been released already, as that version.
    """

    version: RuntimeVersion
    step: Step
    index: Document
    tags: Mapping[str, str]
    again: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """A report: what it says, its text, and the file."""

    outcome: Outcome
    text: str
    file: str


def read_reports(files: Iterable[Path]) -> tuple[Reported, ...]:
    """Return the reports in some files; two of the same image are a ``UsageError``."""
    found: dict[tuple[str, str, str], Reported] = {}
    for path in files:
        text = read_text(path, str(path), InvalidDefinition)
        outcome = parse_report(text, file=str(path))
        key = (outcome.runtime, outcome.variant, outcome.lock)
        if key in found:
            raise UsageError(
                f"two reports of {outcome.runtime}, {outcome.variant}",
                why=f"{found[key].file} and {path}",
                hint="name the one of the image that is to be released",
            )
        found[key] = Reported(outcome=outcome, text=text, file=str(path))
    return tuple(found.values())


def read_advisories(paths: Iterable[Path]) -> Known | None:
    """Return the advisories in files of JSON, directories and zip archives; none without any."""
    found: list[tuple[str, bytes]] = []
    named = list(paths)
    for path in named:
        files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        for file in files:
            content = read_bytes(file, str(file))
            if file.suffix != ".zip":
                found.append((str(file), content))
                continue
            try:
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    found += [(f"{file}: {n}", archive.read(n)) for n in archive.namelist()]
            except (zipfile.BadZipFile, zlib.error, NotImplementedError) as problem:
                raise InvalidDefinition(
                    "not a zip archive of advisories", where=str(file), why=str(problem)
                ) from None
    return parse_advisories(found) if named else None


def read_policy(definitions: Definitions) -> Policy:
    """Return ``release.yaml`` of the definitions; without one, nothing may be left unrun."""
    path = definitions.root / POLICY_FILE
    if not path.is_file():
        return Policy()
    return parse_policy(read_text(path, POLICY_FILE), file=POLICY_FILE)


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
    made = [
        _candidate(definitions, _lock_of(every, one.outcome), one, host, demands) for one in ours
    ]
    return tuple(sorted(made, key=lambda c: c.tag))


def _candidate(
    definitions: Definitions, lock: Lock, report: Reported, host: Host, demands: Demands
) -> Candidate:
    """Return the image that a report is of, as these definitions make it.

    Raises what ``must_be_proven`` and ``must_be_safe`` raise, and ``ValidationFailed`` for a file
    that is nobody's or an image that is not the same when it is built again.
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
    known = demands.known
    unsafe = vulnerabilities(lock, variant, known) if known is not None else ()
    must_be_safe(unsafe, demands.policy, worst=demands.worst, today=demands.today, where=where)
    found = (demands.policy.allows(name, demands.today) for name, _ in outcome.not_run)
    return Candidate(
        variant=variant,
        image=built.image,
        blobs=host.store,
        lock=lock,
        plan=built.plan,
        outcome=outcome,
        report=report.text,
        built=Built(tool=__version__, plan=built.plan.digest, revision=revision(definitions.root)),
        licences=owned.licences,
        vulnerabilities=to_json(unsafe, known),
        allowed=tuple(dict.fromkeys(entry for entry in found if entry is not None)),
    )


def _lock_of(every: Lock, outcome: Outcome) -> Lock:
    """Return the lock of the flavour that a report is of; ``core``'s, when it is of none."""
    cut = (every.cut(flavour) for flavour in every.flavour_names)
    return next((lock for lock in cut if lock.digest == outcome.lock), every.cut(CORE))


def revision(root: Path) -> str | None:
    """Return the git commit of the definitions; ``None`` when they are in none, or changed."""
    git = ["env", "LC_ALL=C", "git", "-C", str(root)]
    try:
        if run([*git, "status", "--porcelain", "."]).strip():
            return None
        return run([*git, "rev-parse", "HEAD"]).strip() or None
    except MlruntimeError:
        return None


def intended(made: tuple[Candidate, ...], record: Record, before: Lock | None) -> Intended:
    """Return which version these images would be.

    Raises ``UsageError`` when they differ from the last version by more than a patch: that is a
    runtime of its own.
    """
    lock = made[0].lock
    images = tuple(sorted((c.tag, c.digest) for c in made))
    same = record.same(images)
    change = step(before, lock)
    if change.size == "none" and same is None:
        change = Step(size="patch", reasons=("the same artifacts in core, composed anew",))
    latest = record.latest
    if same is not None:
        version = same.version
    elif latest is None:
        version = first(lock.runtime)
    else:
        version = latest.version.next()
        if change.size in ("minor", "major"):
            raise UsageError(
                f"this is a {change.size} change, not a version of {lock.runtime}",
                why="; ".join(change.reasons[:5]),
                hint="make a runtime with another id of it: who uses this one must not be"
                " surprised by a patch",
            )
    index = index_of(version.text, [(c.tag, c.image.manifest) for c in made])
    tags = tags_of(version, images, index.digest)
    return Intended(version=version, step=change, index=index, tags=tags, again=same is not None)


def lock_of_latest(repository: Repository, record: Record) -> Lock | None:
    """Return the lock of the newest version, as it was attached to one of its images."""
    if record.latest is None:
        return None
    source = RegistrySource(repository)
    for _, digest in record.latest.variants:
        for entry in source.referrers(digest):
            manifest = source.manifest(str(entry["digest"]))
            if manifest is None or manifest.parsed().get("artifactType") != names.TYPES[names.LOCK]:
                continue
            layer = manifest.parsed()["layers"][0]
            text = source.document(str(layer["digest"])).decode("utf-8")
            return parse_lock(text, file=f"{record.latest.version.text}: {names.LOCK}")
    raise HashMismatch(
        f"{record.latest.version.text} has no lock any more",
        where=repository.name.repository,
        why="somebody has removed a document that was released",
    )


def publish(
    repository: Repository,
    made: tuple[Candidate, ...],
    key: SigningKey,
    *,
    now: str,
    scratch: Path,
    say: Say,
    after: Callable[[str], None] = lambda _: None,
) -> Released:
    """Release images as one version, and put it into the channel ``candidate``.

    ``now`` is RFC 3339; what is pulled back to be verified goes to ``scratch``; ``after`` is told
    each step that is done. A release that was cut off is finished by doing it again.
    """
    runtime = made[0].lock.runtime
    record = read_record(repository, runtime)
    before = lock_of_latest(repository, record)
    wanted = intended(made, record, before)
    version = wanted.version.text
    refuse_moved(repository, wanted.tags)
    say(f"{version}: {wanted.step.size} ({wanted.step.reasons[0]})")
    text = notes(
        version,
        [(c.tag, c.variant, c.lock, c.outcome, c.digest) for c in made],
        wanted.step,
        before,
        dict.fromkeys(entry for c in made for entry in c.allowed),
        {name: what for c in made for name, what in left_out(c.plan.layers).items()},
    )
    for one in made:
        took = push_image(repository, one.image, one.blobs)
        counted = ", ".join(
            f"{sum(t == how for t in took.values())} {how}" for how in ("there", "mounted", "sent")
        )
        say(f"{one.tag}: blobs {counted}")
        after(f"image {one.tag}")
    repository.push_manifest(wanted.index)
    after("index")
    for one in made:
        if not wanted.again:
            attach_documents(repository, one, version, text, key)
        after(f"documents {one.tag}")
        sign(repository, one.digest, key)
        after(f"signature {one.tag}")
    sign(repository, wanted.index.digest, key)
    source = RegistrySource(repository, scratch)
    for one in made:
        say(f"{one.tag}: pulling it back to verify it")
        refuse_wrong(verified(source, one.digest, key=key), repository.name.repository)
    after("verified")
    settle(repository, wanted.tags, say)
    after("tags")
    released = Released(
        version=wanted.version,
        index=wanted.index.digest,
        variants=tuple(sorted((c.tag, c.digest) for c in made)),
        released=now,
    )
    if not wanted.again:
        changed = record.with_version(released)
        changed = changed.moved(CANDIDATE, wanted.version, at=now, why="released")
        write_record(repository, changed, record)
        after("record")
        record = changed
    settle(repository, record.tags(), say)
    return record.version(version)


def verified(
    source: Source, reference_: str, *, key: SigningKey, require: tuple[str, ...] = ()
) -> tuple[Answer, ...]:
    """Check one image by its digest with the key that has signed it."""
    manifest = source.manifest(reference_)
    if manifest is None:
        raise HashMismatch(f"{reference_} is not there, though it has been pushed")
    return check(source, manifest, key=key.public, require=require)


def refuse_wrong(answers: Iterable[Answer], where: str) -> None:
    """Raise ``ValidationFailed`` unless every answer is ``passed``."""
    wrong = [a for a in answers if a.status != "passed"]
    if wrong:
        raise ValidationFailed(
            "what was pushed does not come back as it was",
            where=where,
            why="; ".join(f"{a.name}: {a.told}" for a in wrong),
            hint="no tag was written; something changes what this registry holds",
        )


def move(
    repository: Repository, runtime: str, change: Callable[[Record], Record], say: Say
) -> Record:
    """Change the record of a runtime, then make the channels' tags follow it."""
    before = read_record(repository, runtime)
    if not before.versions:
        raise UsageError(
            f"nothing of {runtime} was released", where=repository.name.repository,
            hint=f"`mlruntime release {runtime} --registry …` comes first",
        )  # fmt: skip
    after = change(before)
    if after != before:
        write_record(repository, after, before)
    settle(repository, after.tags(), say)
    return after


def images_of(source: Source, reference_: str) -> list[tuple[str, Document]]:
    """Return the images of a reference: one, or those of an index, with a name for each."""
    found = source.manifest(reference_)
    if found is None:
        raise UsageError(f"there is no {reference_}", hint="`mlruntime release list` has the tags")
    if found.media_type != INDEX_TYPE:
        return [(reference_, found)]
    images = []
    for entry in found.parsed().get("manifests", ()):
        digest = str(entry["digest"])
        manifest = source.manifest(digest)
        if manifest is None:
            raise HashMismatch(f"{reference_} names {digest}, which is not there")
        variant = (entry.get("annotations") or {}).get("io.mlruntime.variant", digest)
        images.append((str(variant), manifest))
    return images


def rolled_back(record: Record, channel: str, *, at: str) -> Record:
    """Return the record with a channel at the version that it had before."""
    before = record.before(channel)
    if before is None:
        raise UsageError(
            f"{channel} has no version before this one", hint="`mlruntime release list` shows moves"
        )
    return record.moved(channel, before, at=at, why="rolled back")


def retired(record: Record, version: str, *, at: str, why: str) -> Record:
    """Return the record with a version retired; once retired, it stays so."""
    found = record.version(version)
    if found.retired is not None:
        return record
    return record.retiring(found.version, at=at, why=why)
