"""Putting a release into a registry, so that whatever happens it is all there or not seen.

Blobs, then manifests by digest, then documents and signatures: nothing of it has a name yet. After
it has been pulled back and verified, it gets its names (``tagging``): the record, the version's
tags, and last the channels. Each step can be done again, so a release that was cut off is finished
by the same command.
"""

import base64
import json
from collections.abc import Iterable
from typing import Any, Final

from mlruntime.definitions.lifecycle import Lifecycle
from mlruntime.documents.oci import CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, Document
from mlruntime.host.tasks import TaskGroup
from mlruntime.image.image import Blobs, Image, blob_file, verify
from mlruntime.registry.client import Blob, Repository
from mlruntime.registry.referrers import Attachment, attach, referrers
from mlruntime.release.documents import (
    RELEASE,
    Candidate,
    attachment,
    plain_documents,
    release_statement,
    statements_of,
)
from mlruntime.release.signing import (
    SIGNATURE_ANNOTATION,
    SIMPLE_SIGNING_TYPE,
    SigningKey,
    enveloped,
    opened,
    signature_tag,
    simple_signing,
)

_PARALLEL: Final = 4
VARIANT: Final = "io.mlruntime.variant"
LIFECYCLE: Final = "io.mlruntime.lifecycle"


def push_image(repository: Repository, image: Image, blobs: Blobs) -> dict[str, str]:
    """Push an image by its digest; return what each blob took. Its layers are hashed first."""
    for layer in image.layers:
        verify(layer, blobs)
    config = Blob(
        digest=image.config.digest, size=len(image.config.content), content=image.config.content
    )
    layers = {
        layer.blob.digest: Blob(
            digest=layer.blob.digest,
            size=layer.blob.size,
            path=blob_file(blobs, layer.blob.digest),
        )
        for layer in image.layers
    }
    wanted = [config, *layers.values()]
    with TaskGroup(_PARALLEL, lambda: None, name="push") as group:
        jobs = [group.submit(repository.push_blob, blob) for blob in wanted]
        took = {blob.digest: job.result() for blob, job in zip(wanted, jobs, strict=True)}
    repository.push_manifest(image.manifest)
    return took


def index_of(
    version: str, images: Iterable[tuple[str, Document]], lifecycle: Lifecycle | None = None
) -> Document:
    """Return the index of a version: (variant, manifest); what is pulled by default is first.

    It has the dates of support, which no image has: they change without it.
    """
    dates = lifecycle.to_dict() if lifecycle else {}
    value = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [
            manifest.descriptor()
            | {
                "platform": {"architecture": "amd64", "os": "linux"},
                "annotations": {VARIANT: variant},
            }
            for variant, manifest in sorted(images)
        ],
        "annotations": {"org.opencontainers.image.version": version}
        | {f"{LIFECYCLE}.{name}": day for name, day in dates.items() if day},
    }
    return Document.of(value, INDEX_TYPE)


def attach_documents(
    repository: Repository, made: Candidate, version: str, notes: str, key: SigningKey
) -> tuple[Attachment, ...]:
    """Attach every document of an image; what is attached already, signed by this key, stays."""
    subject = made.image.manifest.descriptor()
    there = _attached(repository, made.digest)
    documents = list(plain_documents(made, version, notes))
    for name, statement in statements_of(made, repository.name.path).items():
        documents.append(_signed(name, statement, key, there.get(name, ())))
    release = release_statement(made, version, tuple(documents), key)
    same = _reused(release.content, key, there.get(RELEASE, ()))
    documents.append(attachment(RELEASE, same or release.content))
    for document in documents:
        if document.content not in there.get(document.name, ()):
            attach(repository, subject, document)
    return tuple(documents)


def _signed(name: str, statement: bytes, key: SigningKey, there: Iterable[bytes]) -> Attachment:
    for known in there:
        if base64.b64encode(statement).decode() in known.decode("utf-8", "replace"):
            try:
                opened(known, key.public, what=name)
            except Exception:
                continue
            return attachment(name, known)
    return attachment(name, enveloped(statement, key))


def _reused(envelope: bytes, key: SigningKey, there: Iterable[bytes]) -> bytes | None:
    """Return an envelope that is there with the same statement, signed by this key."""
    payload = json.loads(envelope)["payload"]
    for known in there:
        try:
            opened(known, key.public, what=RELEASE)
            if json.loads(known)["payload"] == payload:
                return known
        except Exception:
            continue
    return None


def _attached(repository: Repository, digest: str) -> dict[str, list[bytes]]:
    """Return the documents of a digest that are there, by name."""
    found: dict[str, list[bytes]] = {}
    for entry in referrers(repository, digest):
        manifest = repository.manifest(str(entry.get("digest")))
        if manifest is None:
            continue
        for layer in manifest.parsed().get("layers", ()):
            name = str((layer.get("annotations") or {}).get("org.opencontainers.image.title", ""))
            found.setdefault(name, []).append(repository.small_blob(str(layer["digest"])))
    return found


def sign(repository: Repository, digest: str, key: SigningKey) -> None:
    """Sign a digest as cosign does, unless this key has signed it there already."""
    payload = simple_signing(repository.name.repository, digest)
    tag = signature_tag(digest)
    there = repository.manifest(tag)
    layers: list[dict[str, Any]] = list(there.parsed().get("layers", ())) if there else []
    blob = Blob.of(payload)
    for layer in layers:
        signature = str((layer.get("annotations") or {}).get(SIGNATURE_ANNOTATION, ""))
        if layer.get("digest") == blob.digest and _accepted(signature, payload, key):
            return
    layers.append(
        {
            "mediaType": SIMPLE_SIGNING_TYPE,
            "digest": blob.digest,
            "size": blob.size,
            "annotations": {SIGNATURE_ANNOTATION: base64.b64encode(key.sign(payload)).decode()},
        }
    )
    diff_ids = [layer["digest"] for layer in layers]
    config = Blob.of(
        json.dumps(
            {
                "architecture": "",
                "os": "",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            }
        ).encode()
    )
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": config.digest, "size": config.size},
        "layers": layers,
    }
    for part in (config, blob):
        repository.push_blob(part)
    repository.push_manifest(Document.of(value, MANIFEST_TYPE), tag)


def _accepted(signature: str, payload: bytes, key: SigningKey) -> bool:
    try:
        return key.public.accepts(base64.b64decode(signature, validate=True), payload)
    except ValueError:
        return False
