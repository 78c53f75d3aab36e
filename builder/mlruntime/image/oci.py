"""OCI image documents and the engine's archive form. Core: values in, bytes out."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mlruntime.documents.oci import CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, Document
from mlruntime.image.config import ImageConfig
from mlruntime.layers.gzipped import LayerBlob
from mlruntime.layers.writer import MEDIA_TYPE

# The annotation of an index by which a layout names its images.
REFERENCE: Final = "org.opencontainers.image.ref.name"


def config(
    image: ImageConfig, layers: Iterable[tuple[str, LayerBlob]], *, created: str
) -> Document:
    """Return the image configuration; its digest is the image id. ``created`` is RFC 3339."""
    named = tuple(layers)
    value = {
        "created": created,
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": image.user,
            "Env": [f"{name}={value}" for name, value in image.environment],
            "Entrypoint": list(image.entrypoint),
            "Cmd": list(image.command),
            "WorkingDir": image.workdir,
            "Labels": dict(image.labels),
        },
        "rootfs": {"type": "layers", "diff_ids": [blob.diff_id for _, blob in named]},
        "history": [{"created": created, "created_by": f"mlruntime: {name}"} for name, _ in named],
    }
    return Document.of(value, CONFIG_TYPE)


def manifest(image: Document, layers: Iterable[LayerBlob], labels: dict[str, str]) -> Document:
    """Return the image manifest; its digest is the image's digest in a registry."""
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": image.descriptor(),
        "layers": [
            {"mediaType": MEDIA_TYPE, "digest": blob.digest, "size": blob.size} for blob in layers
        ],
        "annotations": labels,
    }
    return Document.of(value, MANIFEST_TYPE)


def entry(image: Document, reference: str) -> dict[str, Any]:
    """Return what an index says of an image, a manifest, that has a name.

    The second annotation is containerd's, whose store names an image it loads by it.
    """
    return image.descriptor() | {
        "annotations": {REFERENCE: reference, "io.containerd.image.name": f"docker.io/{reference}"},
        "platform": {"architecture": "amd64", "os": "linux"},
    }


def index(manifests: Iterable[Mapping[str, Any]]) -> Document:
    """Return the ``index.json`` of a layout that holds these entries."""
    value = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": list(manifests)}
    return Document.of(value, INDEX_TYPE)


def layout_files(image: Document, manifest_: Document, reference: str) -> dict[str, bytes]:
    """Return every file of an OCI layout but the layers, by relative path."""
    return {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": index([entry(manifest_, reference)]).content,
        blob_path(image.digest): image.content,
        blob_path(manifest_.digest): manifest_.content,
    }


def blob_path(digest: str) -> str:
    """Return where a layout keeps a blob."""
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def archive_manifest(image: Document, diff_ids: Iterable[str], reference: str) -> bytes:
    """Return the ``manifest.json`` of the archive form that engines load.

    Layers are named by diffID; an engine does not open the files of layers it already has.
    """
    value = [
        {
            "Config": f"{image.digest.partition(':')[2]}.json",
            "RepoTags": [reference],
            "Layers": [archive_layer(diff_id) for diff_id in diff_ids],
        }
    ]
    return json.dumps(value).encode()


def archive_layer(diff_id: str) -> str:
    """Return a layer's file name inside that archive."""
    return f"{diff_id.partition(':')[2]}.tar.gz"
