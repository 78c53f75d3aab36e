"""A finished image: its documents and layers, written as an OCI layout or sent to an engine."""

import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from mlruntime.documents.oci import Document
from mlruntime.engine import Images, chain_ids
from mlruntime.errors import CommandFailed, Damaged, StorageError, Unavailable
from mlruntime.image import oci
from mlruntime.layers.gzipped import LayerBlob
from mlruntime.layers.writer import blocks
from mlruntime.store.store import Store, file_sha256

MANIFESTS: Final = "manifests"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLayer:
    """One layer of a finished image; ``cached`` when the store had it already."""

    name: str
    blob: LayerBlob
    cached: bool
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image whose layers are all in the store."""

    reference: str
    layers: tuple[ImageLayer, ...]
    config: Document
    manifest: Document

    @property
    def size(self) -> int:
        """Return the bytes a registry transfers for this image."""
        layers = sum(layer.blob.size for layer in self.layers)
        return layers + len(self.config.content) + len(self.manifest.content)


class Blobs(Protocol):
    """Where the bytes of layers are: the store, or an OCI layout."""

    def blob(self, sha256: str) -> Path | None:
        """Return the file of a blob, or ``None``."""

    def discard(self, sha256: str) -> None:
        """Forget a blob that turned out to be damaged, if it can be made again."""


def blob_file(blobs: Blobs, digest: str) -> Path:
    """Return the file of a blob, or raise ``Unavailable`` when it is gone."""
    path = blobs.blob(_hex(digest))
    if path is None:
        raise Unavailable(f"blob {digest} is missing", hint="build the image again")
    return path


def remember_manifest(image: Image, store: Store) -> None:
    """Note the manifest digest of an image that an engine may know by its config only."""
    for ident in (image.config.digest, image.manifest.digest):
        store.write_record(MANIFESTS, _hex(ident), image.manifest.digest)


def manifest_of(image_id: str, store: Store) -> str | None:
    """Return the manifest digest of an image that was loaded, by the id it has there."""
    record = store.record(MANIFESTS, _hex(image_id))
    return record.read_text(encoding="utf-8") if record else None


def _hex(digest: str) -> str:
    return digest.partition(":")[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """An image in an engine: the id it has there, and the bytes of layers that were sent."""

    id: str
    sent: int


def load(image: Image, blobs: Blobs, engine: Images) -> Loaded:
    """Put the image into the engine under its reference.

    Layers the engine can already build upon are not sent, and nothing is if it has the image. A
    blob whose bytes are not what its digest says raises ``Damaged`` before anything is sent.
    """
    # By which of them an engine knows an image depends on how it stores images.
    for ident in (image.config.digest, image.manifest.digest):
        if engine.image(ident) is not None:
            with suppress(Unavailable):  # another build may have removed it meanwhile
                engine.tag(ident, image.reference)
                return Loaded(id=ident, sent=0)
    missing = _missing(image, engine.chain_ids())
    try:
        return _send(image, missing, blobs, engine)
    except StorageError:
        raise
    except CommandFailed:
        if len(missing) == len(image.layers):
            raise
    # Another build may have removed the layers that ours builds on: send everything again.
    return _send(image, image.layers, blobs, engine)


def _send(image: Image, layers: tuple[ImageLayer, ...], blobs: Blobs, engine: Images) -> Loaded:
    for layer in layers:
        verify(layer, blobs)
    packed = packed_layout if engine.store == "containerd" else packed_archive
    engine.load(packed(image, layers, blobs))
    found = engine.image(image.reference)
    wanted = tuple(layer.blob.diff_id for layer in image.layers)
    if found is None or found.diff_ids != wanted:
        raise CommandFailed(
            f"the engine loaded {image.reference}, and now has "
            + ("no such image" if found is None else "another image by that name"),
            hint="is something else loading or removing it at the same time?",
        )
    return Loaded(id=found.id, sent=sum(layer.blob.size for layer in layers))


def _missing(image: Image, chains: frozenset[str]) -> tuple[ImageLayer, ...]:
    ids = chain_ids([layer.blob.diff_id for layer in image.layers])
    return tuple(
        layer for layer, ident in zip(image.layers, ids, strict=True) if ident not in chains
    )


def verify(layer: ImageLayer, blobs: Blobs) -> None:
    """Raise ``Damaged`` unless a layer's bytes are what its digest says."""
    found = f"sha256:{file_sha256(blob_file(blobs, layer.blob.digest))}"
    if found != layer.blob.digest:
        blobs.discard(_hex(layer.blob.digest))
        raise Damaged(
            f"layer {layer.name!r} is damaged",
            why=f"its digest is {layer.blob.digest}, its bytes have {found}",
            hint="build the image again: what is damaged is made anew",
        )


def packed_archive(image: Image, layers: tuple[ImageLayer, ...], blobs: Blobs) -> Iterator[bytes]:
    """Yield the archive that Docker's classic store and Podman load, a block at a time."""
    diff_ids = [layer.blob.diff_id for layer in image.layers]
    documents = {
        f"{image.config.digest.partition(':')[2]}.json": image.config.content,
        "manifest.json": oci.archive_manifest(image.config, diff_ids, image.reference),
    }
    yield from _packed(documents, layers, blobs, lambda blob: oci.archive_layer(blob.diff_id))


def packed_layout(image: Image, layers: tuple[ImageLayer, ...], blobs: Blobs) -> Iterator[bytes]:
    """Yield the image as a packed OCI layout, which containerd's store loads as it is."""
    documents = oci.layout_files(image.config, image.manifest, image.reference)
    yield from _packed(documents, layers, blobs, lambda blob: oci.blob_path(blob.digest))


def _packed(
    documents: Mapping[str, bytes],
    layers: tuple[ImageLayer, ...],
    blobs: Blobs,
    named: Callable[[LayerBlob], str],
) -> Iterator[bytes]:
    for name, content in documents.items():
        yield _header(name, len(content)) + content + _padding(len(content))
    for layer in layers:
        path = blob_file(blobs, layer.blob.digest)
        yield _header(named(layer.blob), layer.blob.size)
        yield from blocks(path)
        yield _padding(layer.blob.size)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
