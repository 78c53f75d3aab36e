"""What hosts that have the last version of a runtime pull of the next one."""

from collections.abc import Iterable

from mlruntime.documents.oci import Document
from mlruntime.registry.client import Repository
from mlruntime.release.channels import Record, Released
from mlruntime.release.documents import Candidate
from mlruntime.release.pulls import PullSizes, pull_of


def pulls(
    repository: Repository, record: Record, made: Iterable[Candidate]
) -> tuple[PullSizes, ...]:
    """Return what is pulled of images; each is compared with the last one by its name."""
    images = tuple(made)
    same = record.same((c.tag, c.digest) for c in images)
    older = [v for v in record.versions if same is None or v.version < same.version]
    return tuple(pull_of(c.tag, c.image, _before(repository, older, c)) for c in images)


def _before(
    repository: Repository, versions: Iterable[Released], made: Candidate
) -> tuple[str, Document] | None:
    """Return the last version that has another image of this name, and that image's manifest.

    There is none where the registry does not have it any more: then all of an image is new.
    """
    for version in sorted(versions, key=lambda v: v.version.patch, reverse=True):
        digest = dict(version.variants).get(made.tag, made.digest)
        if digest != made.digest:
            manifest = repository.manifest(digest)
            return (version.version.text, manifest) if manifest else None
    return None
