"""An image that is asked about: where it is read from, and the documents that came with it."""

import base64
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from mlruntime.documents.oci import Document
from mlruntime.errors import HashMismatch, Unavailable, ValidationFailed
from mlruntime.image.config import LABEL
from mlruntime.lock.model import Lock
from mlruntime.registry.uploads import Blob
from mlruntime.release import documents as names
from mlruntime.release.signing import (
    SIGNATURE_ANNOTATION,
    PublicKey,
    signature_tag,
    signed_digest,
)


class Source(Protocol):
    """Where a release is read from: a registry, or an OCI layout."""

    def manifest(self, reference: str) -> Document | None:
        """Return the manifest of a tag or digest."""

    def document(self, digest: str) -> bytes:
        """Return a small blob, checked by its digest."""

    def referrers(self, digest: str) -> list[dict[str, Any]]:
        """Return the descriptors of what refers to a digest."""

    def check_blob(self, digest: str, size: int) -> None:
        """Raise unless a blob is there, its bytes being what its digest says."""


@dataclass(slots=True)
class ExaminedImage:
    """An image that is asked about, and what is known of it so far.

    ``tag`` is the one that it was found under, ``entry`` what an index under that tag calls it.
    """

    source: Source
    manifest: Document
    key: PublicKey | None
    tag: str | None
    entry: str | None = None
    statement: dict[str, Any] | None = None
    found: dict[str, list[bytes]] | None = None
    lock: Lock | None = None

    @property
    def digest(self) -> str:
        """Return the digest of its manifest."""
        return self.manifest.digest

    def listed(self) -> dict[str, str]:
        """Return the digests of the documents that the release's statement lists, by name."""
        return {str(e["name"]): str(e["digest"]) for e in self.predicate["documents"]}

    def bytes_of(self, name: str) -> bytes:
        """Return a document of the release, to the byte the one that was released."""
        wanted = self.listed().get(name)
        if wanted is None:
            raise ValidationFailed(f"the release has no {name}")
        there = (self.found or {}).get(name, [])
        for content in there:
            if Blob.of(content).digest == wanted:
                return content
        raise ValidationFailed(
            f"{name} is another one than was released"
            if there
            else f"{name} is missing: it was released with the image, and somebody has removed it"
        )

    @property
    def predicate(self) -> dict[str, Any]:
        """Return what the release's statement says."""
        if self.statement is None:
            raise ValidationFailed("there is no release statement to hold it to")
        return dict(self.statement["predicate"])

    def labels(self) -> dict[str, str]:
        """Return the labels of its configuration."""
        digest = str(self.manifest.parsed()["config"]["digest"])
        config = json.loads(self.source.document(digest))
        return dict(config["config"].get("Labels") or {})

    def locked(self) -> tuple[Lock, str]:
        """Return its lock, once that has been compared, and its variant."""
        if self.lock is None:
            raise ValidationFailed("there is no lock to compare it with")
        return self.lock, self.labels()[f"{LABEL}.variant"]

    def must_be_signed(self) -> None:
        """Raise unless it is signed with the key; without one, unless there is a signature."""
        must_be_signed(self.source, self.digest, self.key)

    def about(self, statement: dict[str, Any], kind: str) -> dict[str, Any]:
        """Return a statement; raise unless it is of this kind and about this image."""
        if statement.get("predicateType") != kind:
            raise ValidationFailed(f"expected a statement of the kind {kind}")
        subjects = [f"sha256:{s['digest']['sha256']}" for s in statement["subject"]]
        if self.digest not in subjects:
            raise ValidationFailed("the statement is about another image", why=", ".join(subjects))
        return statement

    def attached(self) -> dict[str, list[bytes]]:
        """Return every document that is attached to it, by name."""
        found: dict[str, list[bytes]] = {}
        for entry in self.source.referrers(self.digest):
            manifest = self.source.manifest(str(entry.get("digest")))
            if manifest is None:
                continue
            for layer in manifest.parsed().get("layers", ()):
                title = (layer.get("annotations") or {}).get("org.opencontainers.image.title", "")
                if title in names.TYPES:
                    # What is lost is missed if the newest statement lists it, and not otherwise.
                    with suppress(Unavailable, HashMismatch):
                        content = self.source.document(str(layer["digest"]))
                        found.setdefault(str(title), []).append(content)
        return found


def must_be_signed(source: Source, digest: str, key: PublicKey | None) -> None:
    """Raise unless a digest is signed with a key; without one, unless it has a signature."""
    found = source.manifest(signature_tag(digest))
    if found is None:
        raise ValidationFailed("it is not signed", why=f"there is no signature of {digest}")
    others = 0
    for layer in found.parsed()["layers"]:
        payload = source.document(str(layer["digest"]))
        if signed_digest(payload) != digest:
            continue
        others += 1
        signature = base64.b64decode(layer["annotations"][SIGNATURE_ANNOTATION])
        if key is None or key.accepts(signature, payload):
            return
    raise ValidationFailed(
        "it is signed with another key" if others else "the signature is of another image"
    )
