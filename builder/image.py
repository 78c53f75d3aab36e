"""A finished image: its documents and layers, written as an OCI layout or sent to an engine."""

import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder import oci
from builder.engine import Engine, chain_ids
from builder.errors import HashMismatch, Unavailable
from builder.layering.tarball import LayerBlob, blocks
from builder.store import Store, file_sha256, full_disk


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


def blob_file(store: Store, digest: str) -> Path:
    """Return the store's file for a blob, or raise ``Unavailable`` when it is gone."""
    path = store.blob(digest.partition(":")[2])
    if path is None:
        raise Unavailable(f"the store has lost blob {digest}", hint="build again")
    return path


def write_layout(image: Image, store: Store, directory: Path) -> None:
    """Write an OCI layout; an existing layout in ``directory`` is replaced only once whole.

    Layers are hard links into the store where the file system allows it.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = directory.parent / f".{directory.name}.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with full_disk(directory):
            for path, content in oci.layout_files(
                image.config, image.manifest, image.reference
            ).items():
                target = partial / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            for layer in image.layers:
                target = partial / oci.blob_path(layer.blob.digest)
                if not target.exists():
                    _link(blob_file(store, layer.blob.digest), target)
            shutil.rmtree(directory, ignore_errors=True)
            partial.replace(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def load(image: Image, store: Store, engine: Engine) -> int:
    """Put the image into the engine under its reference; return the bytes that were sent.

    Layers the engine can already build upon are not sent. A blob whose bytes are not what its
    digest says raises ``HashMismatch`` before anything is sent.
    """
    if engine.image_id(image.config.digest) is not None:
        engine.tag(image.config.digest, image.reference)
        return 0
    missing = _missing(image, engine.chain_ids())
    for layer in missing:
        _verify(layer, blob_file(store, layer.blob.digest))
    engine.load(_archive(image, missing, store))
    return sum(layer.blob.size for layer in missing)


def _missing(image: Image, chains: frozenset[str]) -> tuple[ImageLayer, ...]:
    ids = chain_ids([layer.blob.diff_id for layer in image.layers])
    return tuple(
        layer for layer, ident in zip(image.layers, ids, strict=True) if ident not in chains
    )


def _verify(layer: ImageLayer, path: Path) -> None:
    found = f"sha256:{file_sha256(path)}"
    if found != layer.blob.digest:
        path.unlink(missing_ok=True)
        raise HashMismatch(
            f"layer {layer.name!r} is damaged in the store",
            why=f"its digest is {layer.blob.digest}, its bytes have {found}",
            hint="the damaged blob has been removed: build again",
        )


def _archive(image: Image, layers: tuple[ImageLayer, ...], store: Store) -> Iterator[bytes]:
    """Yield the archive an engine loads, a block at a time."""
    diff_ids = [layer.blob.diff_id for layer in image.layers]
    documents = {
        f"{image.config.digest.partition(':')[2]}.json": image.config.content,
        "manifest.json": oci.archive_manifest(image.config, diff_ids, image.reference),
    }
    for name, content in documents.items():
        yield _header(name, len(content)) + content + _padding(len(content))
    for layer in layers:
        path = blob_file(store, layer.blob.digest)
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
