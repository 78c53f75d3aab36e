"""A finished image: its documents and layers, written as an OCI layout or sent to an engine."""

import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from mlruntime.engine import Engine, chain_ids
from mlruntime.errors import CommandFailed, Damaged, StorageError, Unavailable, UsageError
from mlruntime.image import oci
from mlruntime.layers.gzipped import LayerBlob
from mlruntime.layers.writer import blocks
from mlruntime.store.store import Store, file_sha256, full_disk, link_or_copy

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
    config: oci.Document
    manifest: oci.Document

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


def refuse_output(directory: Path) -> None:
    """Raise ``UsageError`` unless a layout may be written here: nothing else is ever replaced."""
    if not directory.exists() or (directory / "oci-layout").is_file():
        return
    if not directory.is_dir() or any(directory.iterdir()):
        raise UsageError(
            f"{directory} is not an OCI layout, and not empty",
            why="what it holds would be lost",
            hint="name a directory that does not exist yet",
        )


def write_layout(image: Image, blobs: Blobs, directory: Path) -> None:
    """Write an OCI layout; an existing layout in ``directory`` is replaced only once whole.

    Layers are hard links into the store where the file system allows it. Raises ``UsageError``
    when there is something else, ``OutOfSpace`` when it cannot be written there.
    """
    directory = directory.absolute()
    refuse_output(directory)
    partial = directory.parent / f".{directory.name}.{os.getpid()}.partial"
    with full_disk(directory, instead="write it elsewhere"):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _lay_out(image, blobs, partial)
            shutil.rmtree(directory, ignore_errors=True)
            partial.replace(directory)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _lay_out(image: Image, blobs: Blobs, directory: Path) -> None:
    for path, content in oci.layout_files(image.config, image.manifest, image.reference).items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for layer in image.layers:
        target = directory / oci.blob_path(layer.blob.digest)
        if not target.exists():
            link_or_copy(blob_file(blobs, layer.blob.digest), target)


def remember_manifest(image: Image, store: Store) -> None:
    """Note the manifest digest of an image that an engine will know by its config only."""
    store.write_record(MANIFESTS, _hex(image.config.digest), image.manifest.digest)


def manifest_of(image_id: str, store: Store) -> str | None:
    """Return the manifest digest of an image that was loaded; an engine knows only its config."""
    record = store.record(MANIFESTS, _hex(image_id))
    return record.read_text(encoding="utf-8") if record else None


def _hex(digest: str) -> str:
    return digest.partition(":")[2]


def load(image: Image, blobs: Blobs, engine: Engine) -> int:
    """Put the image into the engine under its reference; return the bytes that were sent.

    Layers the engine can already build upon are not sent. A blob whose bytes are not what its
    digest says raises ``Damaged`` before anything is sent.
    """
    if engine.image_id(image.config.digest) is not None:
        with suppress(Unavailable):  # another build may have removed it meanwhile
            engine.tag(image.config.digest, image.reference)
            return 0
    missing = _missing(image, engine.chain_ids())
    try:
        return _send(image, missing, blobs, engine)
    except StorageError:
        raise
    except CommandFailed:
        if len(missing) == len(image.layers):
            raise
    # Another build may have removed what ours was to be built upon: once more, with everything.
    return _send(image, image.layers, blobs, engine)


def _send(image: Image, layers: tuple[ImageLayer, ...], blobs: Blobs, engine: Engine) -> int:
    for layer in layers:
        verify(layer, blobs)
    engine.load(_archive(image, layers, blobs))
    return sum(layer.blob.size for layer in layers)


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


def _archive(image: Image, layers: tuple[ImageLayer, ...], blobs: Blobs) -> Iterator[bytes]:
    """Yield the archive an engine loads, a block at a time."""
    diff_ids = [layer.blob.diff_id for layer in image.layers]
    documents = {
        f"{image.config.digest.partition(':')[2]}.json": image.config.content,
        "manifest.json": oci.archive_manifest(image.config, diff_ids, image.reference),
    }
    for name, content in documents.items():
        yield _header(name, len(content)) + content + _padding(len(content))
    for layer in layers:
        path = blob_file(blobs, layer.blob.digest)
        yield _header(oci.archive_layer(layer.blob.diff_id), layer.blob.size)
        yield from blocks(path)
        yield _padding(layer.blob.size)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
