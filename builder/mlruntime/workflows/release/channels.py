"""What was released: its channels, and its images one by one."""

from collections.abc import Callable

from mlruntime.documents.oci import INDEX_TYPE, Document
from mlruntime.errors import HashMismatch, UsageError
from mlruntime.registry.client import Repository
from mlruntime.release.channels import Record
from mlruntime.release.examined import Source
from mlruntime.release.publishing import read_record, settle, write_record


def move(
    repository: Repository,
    runtime: str,
    change: Callable[[Record], Record],
    say: Callable[[str], None],
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
