"""Putting a release into a registry, so that whatever happens it is all there or not seen.

Blobs, then manifests by digest, then documents and signatures: nothing of it has a name yet. After
it has been pulled back and verified, it gets its names (``tagging``): the record, the version's
tags, and last the channels. Each step can be done again, so a release that was cut off is finished
by the same command.
"""

import base64
import json
from collections.abc import Iterable
from datetime import date
from functools import partial
from typing import Any, Final

from mlruntime.definitions.lifecycle import Lifecycle
from mlruntime.documents.oci import CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, Document
from mlruntime.errors import HashMismatch
from mlruntime.host.tasks import TaskGroup
from mlruntime.image.image import Blobs, Image, blob_file, verify
from mlruntime.registry.client import Repository
from mlruntime.registry.uploads import Blob
from mlruntime.release.signing import (
    SIGNATURE_ANNOTATION,
    SIMPLE_SIGNING_TYPE,
    SigningKey,
    signature_tag,
    simple_signing,
)

_PARALLEL: Final = 4
VERSION: Final = "org.opencontainers.image.version"
VARIANT: Final = "io.mlruntime.variant"
LIFECYCLE: Final = "io.mlruntime.lifecycle"


def push_image(
    repository: Repository, image: Image, blobs: Blobs, mount_from: str | None = None
) -> dict[str, str]:
    """Push an image by its digest; return what each blob took. Its layers are hashed first.

    ``mount_from`` is another repository of the registry, which may have some of them.
    """
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
        push = partial(repository.push_blob, mount_from=mount_from)
        jobs = [group.submit(push, blob) for blob in wanted]
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
        "annotations": {VERSION: version}
        | {f"{LIFECYCLE}.{name}": day for name, day in dates.items() if day},
    }
    return Document.of(value, INDEX_TYPE)


def dates_of(index: Document) -> Lifecycle | None:
    """Return the dates of support that the index of a version has."""
    said = index.parsed().get("annotations") or {}
    texts = {name: said.get(f"{LIFECYCLE}.{name}") for name in Lifecycle().to_dict()}
    try:
        days = {name: date.fromisoformat(str(text)) for name, text in texts.items() if text}
    except ValueError as problem:
        raise HashMismatch(
            f"the index {index.digest} has dates of support that are none", why=str(problem)
        ) from None
    return (
        Lifecycle(**{name.replace("-", "_"): day for name, day in days.items()}) if days else None
    )


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
