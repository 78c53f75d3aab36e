"""From proven images to a version in a registry: pushed, pulled back, verified, tags last."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from mlruntime.documents.oci import Document
from mlruntime.errors import HashMismatch, Unavailable, UsageError, ValidationFailed
from mlruntime.image.plan import left_out
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
from mlruntime.registry.client import Repository
from mlruntime.release import documents as names
from mlruntime.release.attaching import attach_documents
from mlruntime.release.channels import CANDIDATE, Record, Released, tags_of
from mlruntime.release.checking import Answer, check, check_index
from mlruntime.release.documents import Candidate
from mlruntime.release.examined import Source
from mlruntime.release.notes import notes
from mlruntime.release.publishing import (
    dates_of,
    index_of,
    push_image,
    sign,
)
from mlruntime.release.signing import SigningKey
from mlruntime.release.sources import RegistrySource
from mlruntime.release.tagging import (
    must_be_ours,
    read_record,
    refuse_moved,
    reserve,
    settle,
    write_version_tags,
)
from mlruntime.release.versions import RuntimeVersion, Step, first, step
from mlruntime.workflows.release.pulls import pulls


@dataclass(frozen=True, kw_only=True, slots=True)
class Intended:
    """What a release would do: the version, why it is that one, and the tags it would write.

    ``again`` is set when these very images have been released already, as that version; its index
    stays the one that it was, though it might say something else today.
    """

    version: RuntimeVersion
    step: Step
    index: Document
    tags: Mapping[str, str]
    again: bool


def intended(made: tuple[Candidate, ...], record: Record, before: Lock | None) -> Intended:
    """Return which version these images would be; ``before`` is as ``lock_before`` has it.

    Raises ``UsageError`` when they differ from the last version by more than a patch: that is a
    runtime of its own.
    """
    lock = made[0].lock
    images = tuple(sorted((c.tag, c.digest) for c in made))
    same = record.same(images)
    change = step(before, lock)
    if change.size == "none":
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
    index = index_of(version.text, [(c.tag, c.image.manifest) for c in made], made[0].lifecycle)
    tags = tags_of(version, images, same.index if same else index.digest)
    return Intended(version=version, step=change, index=index, tags=tags, again=same is not None)


def must_be_later(now: str, made: Iterable[Candidate], record: Record) -> None:
    """Raise ``Unavailable`` if the clock is before what has already been.

    Days of exceptions and of support would be judged by it, and releases be in a wrong order.
    """
    images = tuple(made)
    been = [(one.lock.snapshot, f"the lock of {one.lock.runtime}") for one in images]
    been += [(one.outcome.started, f"the validation of {one.name}") for one in images]
    been += [(v.released, f"the release of {v.version.text}") for v in record.versions]
    at = datetime.fromisoformat(now)
    for moment, what in been:
        if at < datetime.fromisoformat(moment):
            raise Unavailable(
                "this host's clock is wrong, or that of another one was",
                why=f"it is {now} here, which is before {what}, {moment}",
                hint="set the clock (`timedatectl`), and release again",
            )


def lock_before(
    repository: Repository, record: Record, made: Iterable[Candidate] = ()
) -> Lock | None:
    """Return the lock of the newest version: of that before these images', if they are of one."""
    same = record.same((c.tag, c.digest) for c in made)
    released = record.previous(same.version) if same else record.latest
    return lock_of(repository, released) if released else None


def as_released(
    repository: Repository, record: Record, made: tuple[Candidate, ...]
) -> tuple[Candidate, ...]:
    """Return images with the dates of support that they were released with, if they were."""
    same = record.same((c.tag, c.digest) for c in made)
    index = repository.manifest(same.index) if same else None
    if index is None:
        return made
    return tuple(replace(one, lifecycle=dates_of(index)) for one in made)


def lock_of(repository: Repository, released: Released) -> Lock:
    """Return the lock of a version, as it was attached to one of its images."""
    source = RegistrySource(repository)
    for _, digest in released.variants:
        for entry in source.referrers(digest):
            manifest = source.manifest(str(entry["digest"]))
            if manifest is None or manifest.parsed().get("artifactType") != names.TYPES[names.LOCK]:
                continue
            layer = manifest.parsed()["layers"][0]
            text = source.document(str(layer["digest"])).decode("utf-8")
            return parse_lock(text, file=f"{released.version.text}: {names.LOCK}")
    raise HashMismatch(
        f"{released.version.text} has no lock any more",
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
    say: Callable[[str], None],
    after: Callable[[str], None] = lambda _: None,
    mount_from: str | None = None,
) -> Released:
    """Release images as one version, and put it into the channel ``candidate``.

    ``now`` is RFC 3339; what is pulled back to be verified goes to ``scratch``; ``after`` is told
    each step that is done. A release that was cut off is finished by doing it again; one that was
    whole gets back what is missing of it, and documents that say something else than before.
    """
    record = read_record(repository, made[0].lock.runtime)
    must_be_later(now, made, record)
    made = as_released(repository, record, made)
    before = lock_before(repository, record, made)
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
        made[0].lifecycle,
        dict.fromkeys(one.to_text() for c in made for one in c.excepted),
        pulls(repository, record, made),
    )
    _pushed(repository, made, wanted, text, key, say, after, mount_from)
    _pulled_back(repository, made, wanted, key, now, scratch, say)
    after("verified")
    return _named(repository, made, wanted, record, now, say, after)


def _pushed(
    repository: Repository,
    made: tuple[Candidate, ...],
    wanted: Intended,
    text: str,
    key: SigningKey,
    say: Callable[[str], None],
    after: Callable[[str], None],
    mount_from: str | None,
) -> None:
    """Push images, index, documents (``text`` are the notes) and signatures: without any name."""
    for one in made:
        took = push_image(repository, one.image, one.blobs, mount_from)
        counted = ", ".join(
            f"{sum(t == how for t in took.values())} {how}" for how in ("there", "mounted", "sent")
        )
        say(f"{one.tag}: blobs {counted}")
        after(f"image {one.tag}")
    index = wanted.tags[wanted.version.tag()]
    if wanted.index.digest == index:
        repository.push_manifest(wanted.index)
    after("index")
    for one in made:
        attach_documents(repository, one, wanted.version.text, text, key)
        after(f"documents {one.tag}")
        sign(repository, one.digest, key)
        after(f"signature {one.tag}")
    sign(repository, index, key)


def _pulled_back(
    repository: Repository,
    made: tuple[Candidate, ...],
    wanted: Intended,
    key: SigningKey,
    now: str,
    scratch: Path,
    say: Callable[[str], None],
) -> None:
    """Verify what was pushed as anybody would; raise ``ValidationFailed`` unless all is right."""
    source = RegistrySource(repository, scratch)
    today = datetime.fromisoformat(now).date()
    where = repository.name.repository
    for one in made:
        say(f"{one.tag}: pulling it back to verify it")
        tag = wanted.version.tag(one.tag)
        refuse_wrong(verified(source, one.digest, key=key, today=today, tag=tag), where)
    tag = wanted.version.tag()
    pushed = source.manifest(wanted.tags[tag])
    if pushed is None:
        raise HashMismatch(f"the index {wanted.tags[tag]} is not there, though it has been pushed")
    refuse_wrong([check_index(source, pushed, key=key.public, tag=tag)], where)


def _named(
    repository: Repository,
    made: tuple[Candidate, ...],
    wanted: Intended,
    record: Record,
    now: str,
    say: Callable[[str], None],
    after: Callable[[str], None],
) -> Released:
    """Write the version into the record, then its tags, then those of the channel."""
    if not wanted.again:
        released = Released(
            version=wanted.version,
            index=wanted.tags[wanted.version.tag()],
            variants=tuple(sorted((c.tag, c.digest) for c in made)),
            released=now,
        )
        changed = record.with_version(released)
        changed = changed.moved(CANDIDATE, wanted.version, at=now, why="released")
        reserve(repository, changed, record, wanted.tags)
        record = changed
    after("record")
    ours = record.version(wanted.version.text)
    must_be_ours(repository, ours)
    write_version_tags(repository, wanted.tags, say)
    after("tags")
    settle(repository, must_be_ours(repository, ours).channel_tags(CANDIDATE), say)
    return ours


def verified(
    source: Source,
    reference_: str,
    *,
    key: SigningKey,
    today: date,
    tag: str,
) -> tuple[Answer, ...]:
    """Check an image by its digest, and the tag that it will get, with the key that signed it."""
    manifest = source.manifest(reference_)
    if manifest is None:
        raise HashMismatch(f"{reference_} is not there, though it has been pushed")
    return check(source, manifest, key=key.public, today=today, tag=tag)


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
