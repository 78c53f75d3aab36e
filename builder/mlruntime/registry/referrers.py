"""Documents that belong to an image: manifests with a ``subject``, and where they are listed.

Registries of the distribution specification 1.1 list them themselves. For the others a client
keeps the list under a tag that is made of the digest, as that specification says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlruntime.documents.oci import INDEX_TYPE, MANIFEST_TYPE, Document
from mlruntime.registry.client import Repository
from mlruntime.registry.uploads import Blob

EMPTY: Final = Blob.of(b"{}")
EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """A document of an image: its bytes, and what it is (an OCI artifact type)."""

    name: str
    artifact_type: str
    content: bytes

    @property
    def blob(self) -> Blob:
        """Return its bytes as a blob."""
        return Blob.of(self.content)

    def manifest(self, subject: Mapping[str, Any]) -> Document:
        """Return the manifest by which it belongs to ``subject``, a descriptor."""
        blob = self.blob
        value = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": self.artifact_type,
            "config": {"mediaType": EMPTY_TYPE, "digest": EMPTY.digest, "size": EMPTY.size},
            "layers": [
                {
                    "mediaType": self.artifact_type,
                    "digest": blob.digest,
                    "size": blob.size,
                    "annotations": {"org.opencontainers.image.title": self.name},
                }
            ],
            "subject": {key: subject[key] for key in ("mediaType", "digest", "size")},
            "annotations": {"org.opencontainers.image.title": self.name},
        }
        return Document.of(value, MANIFEST_TYPE)


def fallback_tag(digest: str) -> str:
    """Return the tag under which the referrers of a digest are listed."""
    return digest.replace(":", "-")


def attach(repository: Repository, subject: Mapping[str, Any], document: Attachment) -> Document:
    """Push a document of an image, and list it where the registry does not do that itself."""
    made = document.manifest(subject)
    for blob in (EMPTY, document.blob):
        repository.push_blob(blob)
    repository.push_manifest(made)
    entry = made.descriptor() | {
        "artifactType": document.artifact_type,
        "annotations": {"org.opencontainers.image.title": document.name},
    }
    digest = str(subject["digest"])
    if repository.referrers(digest) is None:
        _list(repository, digest, entry)
    return made


def _list(repository: Repository, digest: str, entry: dict[str, Any]) -> None:
    listed = fallback(repository, digest)
    if any(known.get("digest") == entry["digest"] for known in listed):
        return
    value = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [*listed, entry]}
    repository.push_manifest(Document.of(value, INDEX_TYPE), fallback_tag(digest))


def fallback(repository: Repository, digest: str) -> list[dict[str, Any]]:
    """Return the descriptors listed under the fallback tag of a digest."""
    found = repository.manifest(fallback_tag(digest))
    entries = found.parsed().get("manifests") if found else None
    return [entry for entry in entries or [] if isinstance(entry, dict)]


def referrers(repository: Repository, digest: str) -> list[dict[str, Any]]:
    """Return the descriptors of all documents of a digest, however they are listed."""
    listed = repository.referrers(digest)
    by_tag = fallback(repository, digest)
    known = {entry.get("digest") for entry in listed or []}
    return [*(listed or []), *(e for e in by_tag if e.get("digest") not in known)]
