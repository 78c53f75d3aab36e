"""What gives a release its names: the record of a runtime, tags of versions, tags of channels.

The record is first: whose images are in it under a version, has that version. Tags follow the
record. Registries cannot be asked to write only if nobody else has, so each look at what is there
comes right before the write, and the record is looked at again before tags are written.
"""

from collections.abc import Callable, Mapping

from mlruntime.documents.oci import MANIFEST_TYPE, Document
from mlruntime.errors import UsageError
from mlruntime.registry.client import Repository
from mlruntime.registry.referrers import EMPTY, EMPTY_TYPE
from mlruntime.registry.uploads import Blob
from mlruntime.release.channels import RECORD_TYPE, Record, Released, parse_record, record_tag


def read_record(repository: Repository, runtime: str) -> Record:
    """Return the record of a runtime; an empty one when nothing of it was released."""
    found = repository.manifest(record_tag(runtime))
    if found is None:
        return Record(runtime=runtime)
    layers = found.parsed().get("layers") or [{}]
    text = repository.small_blob(str(layers[0].get("digest"))).decode("utf-8", "replace")
    record = parse_record(text, file=f"{repository.name.repository}:{record_tag(runtime)}")
    if record.runtime != runtime:
        raise UsageError(f"the record of {runtime} is that of {record.runtime}")
    return record


def reserve(
    repository: Repository, record: Record, before: Record, tags: Mapping[str, str]
) -> None:
    """Write the record with one more version, whose tags are not taken: it is ours from now on."""
    _must_be(repository, before)
    refuse_moved(repository, tags)
    write_record(repository, record, before)


def write_record(repository: Repository, record: Record, before: Record) -> None:
    """Write the record, unless somebody else has done so since ``before`` was read.

    Nothing comes between the last look and the write, and it is read once more afterwards. Who
    writes in between all the same replaces it: so ``must_be_ours`` comes before tags.
    """
    blob = Blob.of(record.to_json().encode())
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": RECORD_TYPE,
        "config": {"mediaType": EMPTY_TYPE, "digest": EMPTY.digest, "size": EMPTY.size},
        "layers": [{"mediaType": RECORD_TYPE, "digest": blob.digest, "size": blob.size}],
    }
    for part in (EMPTY, blob):
        repository.push_blob(part)
    manifest = Document.of(value, MANIFEST_TYPE)
    _must_be(repository, before)
    repository.push_manifest(manifest, record_tag(record.runtime))
    _must_be(repository, record)


def _must_be(repository: Repository, record: Record) -> None:
    if read_record(repository, record.runtime) != record:
        raise UsageError(
            f"somebody else has released or moved {record.runtime} at the same time",
            where=repository.name.repository,
            hint="no tag was written; run it again",
        )


def must_be_ours(repository: Repository, released: Released) -> Record:
    """Return the record as it is now; raise unless a version in it is what we have released."""
    record = read_record(repository, released.version.runtime)
    images = (released.version, released.index, released.variants)
    if images not in ((v.version, v.index, v.variants) for v in record.versions):
        raise UsageError(
            f"somebody else has released {released.version.text} at the same time",
            where=repository.name.repository,
            why="the record of versions was replaced after these images were written into it",
            hint="run it again: they become another version",
        )
    return record


def refuse_moved(repository: Repository, wanted: Mapping[str, str]) -> None:
    """Raise ``UsageError`` when a version's tag is there with another digest: it never moves."""
    for tag, digest in wanted.items():
        _is_there(repository, tag, digest)


def _is_there(repository: Repository, tag: str, digest: str) -> bool:
    """Return whether a version's tag is there; raise if it is there with another digest."""
    found = repository.manifest(tag)
    if found is not None and found.digest != digest:
        raise UsageError(
            f"the tag {tag} is taken, and a version's tag never moves",
            where=repository.name.repository,
            why=f"it is {found.digest}, this release is {digest}",
            hint="somebody has pushed by hand, or two releases ran at once: look at"
            " `mlruntime release list`",
        )
    return found is not None


def write_version_tags(
    repository: Repository, tags: Mapping[str, str], say: Callable[[str], None]
) -> None:
    """Write a version's tags that are not there yet; one with another digest is refused."""
    for tag, digest in tags.items():
        target = _target(repository, tag, digest)
        if not _is_there(repository, tag, digest):
            repository.push_manifest(target, tag)
            say(f"{tag} is {digest}")


def settle(
    repository: Repository, tags: Mapping[str, str | None], say: Callable[[str], None]
) -> bool:
    """Make the tags of a channel point where they have to; return whether that moved any.

    ``None`` is for a tag that must not be there. What the registry does not delete is told.
    """
    moved = False
    for tag, digest in tags.items():
        found = repository.manifest(tag)
        if (found.digest if found else None) == digest:
            continue
        if digest is None:
            refused = repository.delete_tag(tag)
            say(
                f"{tag} should be gone, and the registry does not delete it ({refused}):"
                " delete this tag with the registry's own tools"
                if refused
                else f"{tag} is gone"
            )
            moved = moved or not refused
            continue
        repository.push_manifest(_target(repository, tag, digest), tag)
        say(f"{tag} is {digest}")
        moved = True
    return moved


def _target(repository: Repository, tag: str, digest: str) -> Document:
    found = repository.manifest(digest)
    if found is None:
        raise UsageError(
            f"{tag} should be {digest}, which the registry does not have",
            where=repository.name.repository,
            hint="release it again from the same lock",
        )
    return found
