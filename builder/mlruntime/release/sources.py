"""Where a release is read from: a registry, or an OCI layout on this disk."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlruntime.documents.oci import INDEX_TYPE, MANIFEST_TYPE, Document
from mlruntime.errors import HashMismatch
from mlruntime.image import oci
from mlruntime.image.layout import entries, name_of
from mlruntime.registry.client import Repository
from mlruntime.registry.referrers import fallback_tag, referrers
from mlruntime.release.signing import signature_tag
from mlruntime.store.store import file_sha256, storage_errors

_DOCUMENT_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class RegistrySource:
    """A repository of a registry; with ``scratch`` blobs are pulled there, and hashed."""

    repository: Repository
    scratch: Path | None = None

    def manifest(self, reference: str) -> Document | None:
        """Return the manifest of a tag or digest."""
        return self.repository.manifest(reference)

    def document(self, digest: str) -> bytes:
        """Return a small blob, checked by its digest."""
        return self.repository.small_blob(digest, _DOCUMENT_BYTES)

    def referrers(self, digest: str) -> list[dict[str, Any]]:
        """Return the descriptors of what refers to a digest."""
        return referrers(self.repository, digest)

    def check_blob(self, digest: str, size: int) -> None:
        """Raise unless the registry has a blob; with ``scratch``, unless its bytes are right."""
        if self.scratch is not None:
            target = self.scratch / digest.partition(":")[2]
            self.repository.pull_blob(digest, target, size)
            target.unlink()
        elif not self.repository.has_blob(digest):
            raise HashMismatch(f"the registry does not have {digest}")


@dataclass(frozen=True, slots=True)
class LayoutSource:
    """An OCI layout; documents are manifests of its index with a ``subject``."""

    directory: Path

    def manifest(self, reference: str) -> Document | None:
        """Return the manifest of a name in the index, or of a digest."""
        digest, kind = reference, ""
        for entry in entries(self.directory):
            found = str(entry.get("digest").text())
            if reference in (name_of(entry), found):
                said = entry.maybe("mediaType")
                digest, kind = found, said.text() if said else ""
                break
        if not digest.startswith("sha256:") or self._path(digest) is None:
            return None
        content = self.document(digest)
        if not kind:
            value = json.loads(content)
            kind = str(value.get("mediaType") or MANIFEST_TYPE)
        return Document(content=content, media_type=kind)

    def document(self, digest: str) -> bytes:
        """Return a small blob, checked by its digest."""
        path = self._path(digest)
        if path is None:
            raise HashMismatch(f"the layout does not have {digest}")
        if f"sha256:{file_sha256(path)}" != digest:
            raise HashMismatch(f"blob {digest} has other bytes than its digest says")
        if path.stat().st_size > _DOCUMENT_BYTES:
            raise HashMismatch(f"blob {digest} is too large for a document")
        return path.read_bytes()

    def referrers(self, digest: str) -> list[dict[str, Any]]:
        """Return the descriptors of what refers to a digest."""
        return list(self._referrers(digest))

    def _referrers(self, digest: str) -> Iterator[dict[str, Any]]:
        for entry in entries(self.directory):
            manifest = self.manifest(str(entry.get("digest").text()))
            if manifest is None:
                continue
            value = manifest.parsed()
            if (value.get("subject") or {}).get("digest") == digest:
                yield manifest.descriptor()
            if name_of(entry) == fallback_tag(digest):
                yield from (e for e in value.get("manifests", ()) if isinstance(e, dict))

    def check_blob(self, digest: str, size: int) -> None:
        """Raise unless a blob is there, its bytes being what its digest says."""
        path = self._path(digest)
        if path is None:
            raise HashMismatch(f"the layout does not have {digest}")
        if path.stat().st_size != size or f"sha256:{file_sha256(path)}" != digest:
            raise HashMismatch(f"blob {digest} has other bytes than its digest says")

    def _path(self, digest: str) -> Path | None:
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or not value.isalnum():
            return None
        path = self.directory / oci.blob_path(digest)
        return path if path.is_file() else None


def pull(repository: Repository, manifest: Document, name: str, directory: Path) -> None:
    """Write an image, its documents and its signature into a new OCI layout, each blob hashed.

    An index is written with its signature, and with all of its images. What is there already is
    not pulled again.
    """
    blobs = directory / "blobs/sha256"
    with storage_errors(directory):
        blobs.mkdir(parents=True, exist_ok=True)
    named = [(manifest, name)]
    signed = images = [manifest]
    if manifest.media_type == INDEX_TYPE:
        images = [_there(repository, str(e["digest"])) for e in manifest.parsed()["manifests"]]
        named += [(image, "") for image in images]
        signed = [manifest, *images]
    for image in images:
        for entry in referrers(repository, image.digest):
            named.append((_there(repository, str(entry["digest"])), ""))
    for one in signed:
        tag = signature_tag(one.digest)
        if (signature := repository.manifest(tag)) is not None:
            named.append((signature, tag))
    listed = []
    for one, called in named:
        _write(blobs, one.digest, one.content)
        value = one.parsed()
        parts = [*value.get("layers", ()), *([value["config"]] if "config" in value else [])]
        for part in parts:
            target = blobs / str(part["digest"]).partition(":")[2]
            repository.pull_blob(str(part["digest"]), target, int(part["size"]))
        listed.append(
            one.descriptor() | ({"annotations": {oci.REFERENCE: called}} if called else {})
        )
    with storage_errors(directory):
        (directory / "index.json").write_bytes(oci.index(listed).content)
        (directory / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')


def _there(repository: Repository, digest: str) -> Document:
    found = repository.manifest(digest)
    if found is None:
        raise HashMismatch(f"{repository.name.repository} does not have {digest}")
    return found


def _write(blobs: Path, digest: str, content: bytes) -> None:
    with storage_errors(blobs):
        (blobs / digest.partition(":")[2]).write_bytes(content)
