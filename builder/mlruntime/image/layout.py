"""Reading an OCI layout back: the image it holds, with every byte checked."""

from dataclasses import dataclass
from pathlib import Path

from mlruntime.documents.reading import Place, read_json
from mlruntime.errors import HashMismatch, InvalidDefinition
from mlruntime.image import oci
from mlruntime.image.image import Image, ImageLayer, verify
from mlruntime.layers.gzipped import LayerBlob
from mlruntime.store.store import file_sha256


@dataclass(frozen=True, slots=True)
class LayoutBlobs:
    """The blobs of a layout directory; nothing in it is ever removed."""

    directory: Path

    def blob(self, sha256: str) -> Path | None:
        """Return the file of a blob, or ``None``."""
        path = self.directory / "blobs" / "sha256" / sha256
        return path if path.is_file() else None

    def discard(self, sha256: str) -> None:
        """Leave a damaged blob to its owner."""


def is_layout(directory: Path) -> bool:
    """Return whether a directory looks like an OCI layout."""
    return (directory / "oci-layout").is_file()


def read_layout(directory: Path) -> Image:
    """Return the one image of a layout.

    Every blob is hashed: one whose bytes are not what its digest says raises ``HashMismatch``
    with the layer's name. A malformed document raises ``InvalidDefinition``.
    """
    blobs = LayoutBlobs(directory)
    entry = _entry(directory)
    manifest = _document(blobs, entry, oci.MANIFEST_TYPE)
    top = _parsed(manifest.content, "the image's manifest")
    config = _document(blobs, top.get("config"), oci.CONFIG_TYPE)
    layers = _layers(top, _parsed(config.content, "the image's configuration"))
    for layer in layers:
        verify(layer, blobs)
    annotations = entry.get("annotations").get("org.opencontainers.image.ref.name")
    return Image(reference=annotations.text(), layers=layers, config=config, manifest=manifest)


def read_labels(directory: Path) -> dict[str, str]:
    """Return the labels of a layout's one image; only its documents are read, no layer."""
    blobs = LayoutBlobs(directory)
    manifest = _document(blobs, _entry(directory), oci.MANIFEST_TYPE)
    top = _parsed(manifest.content, "the image's manifest")
    config = _document(blobs, top.get("config"), oci.CONFIG_TYPE)
    labels = _parsed(config.content, "the image's configuration").get("config").maybe("Labels")
    return {key: value.text() for key, value in labels.items()} if labels else {}


def _entry(directory: Path) -> Place:
    """Return the place in a layout's index that describes its one image."""
    index = _parsed((directory / "index.json").read_bytes(), f"{directory.name}/index.json")
    entries = tuple(index.get("manifests").each())
    if len(entries) != 1:
        raise index.get("manifests").fail(f"expected one image, found {len(entries)}")
    return entries[0]


def _parsed(content: bytes, file: str) -> Place:
    return read_json(content.decode("utf-8", "replace"), file=file)


def _document(blobs: LayoutBlobs, descriptor: Place, media_type: str) -> oci.Document:
    digest = descriptor.get("digest").text()
    path = blobs.blob(digest.partition(":")[2])
    if path is None:
        raise descriptor.get("digest").fail(f"blob {digest} is missing")
    if f"sha256:{file_sha256(path)}" != digest:
        raise HashMismatch(f"blob {digest} is damaged", hint="build the image again")
    return oci.Document(content=path.read_bytes(), media_type=media_type)


def _layers(manifest: Place, config: Place) -> tuple[ImageLayer, ...]:
    descriptors = tuple(manifest.get("layers").each())
    diff_ids = config.get("rootfs").get("diff_ids").texts()
    history = tuple(config.get("history").each())
    if not len(descriptors) == len(diff_ids) == len(history):
        raise InvalidDefinition("manifest and configuration disagree on the number of layers")
    return tuple(
        ImageLayer(
            name=made.get("created_by").text().removeprefix("mlruntime: "),
            blob=LayerBlob(
                diff_id=diff_id,
                digest=descriptor.get("digest").text(),
                size=descriptor.get("size").integer(),
                unpacked=0,
            ),
            cached=True,
            seconds=0.0,
        )
        for descriptor, diff_id, made in zip(descriptors, diff_ids, history, strict=True)
    )
