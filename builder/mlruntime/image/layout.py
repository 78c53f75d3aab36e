"""Reading an OCI layout back: an image that it holds, with every byte checked."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlruntime.documents.oci import CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, Document
from mlruntime.documents.reading import Location, read_json
from mlruntime.errors import HashMismatch, InvalidDefinition
from mlruntime.image import oci
from mlruntime.image.image import Image, ImageLayer, verify
from mlruntime.layers.gzipped import LayerBlob
from mlruntime.store.store import file_sha256

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_NAME: Final = "[a-z0-9][a-z0-9._/-]*"
_TAGGED: Final = re.compile(rf"{_NAME}(:[0-9]+/{_NAME})?:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}")
_INDEXES: Final = (INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json")
_SHOWN: Final = 60


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


def read_layout(directory: Path, name: str | None = None) -> Image:
    """Return the image of a layout that has this name; without a name, its only one.

    Every blob is hashed: one whose bytes are not what its digest says raises ``HashMismatch``
    with the layer's name. A malformed document raises ``InvalidDefinition``.
    """
    blobs = LayoutBlobs(directory)
    entry = _entry(directory, name)
    manifest, config, top = _documents(blobs, entry)
    layers = _layers(top, _parsed(config.content, "the image's configuration"))
    for layer in layers:
        verify(layer, blobs)
    return Image(
        reference=_reference(entry, manifest), layers=layers, config=config, manifest=manifest
    )


def read_labels(directory: Path) -> dict[str, str]:
    """Return the labels of a layout's one image; only its documents are read, no layer."""
    _, config, _ = _documents(LayoutBlobs(directory), _entry(directory, None))
    found = _parsed(config.content, "the image's configuration").maybe("config")
    labels = found.maybe("Labels") if found else None
    return {key: value.text() for key, value in labels.items()} if labels else {}


def entries(directory: Path) -> tuple[Location, ...]:
    """Return the places in a layout's index that describe its images."""
    file = f"{directory.name}/index.json"
    try:
        content = (directory / "index.json").read_bytes()
    except FileNotFoundError:
        raise InvalidDefinition(
            "this OCI layout has no index.json",
            where=str(directory),
            why="the file says which images a layout holds; without it none can be found",
            hint="write the layout again; an interrupted copy looks like this",
        ) from None
    return tuple(_parsed(content, file).get("manifests").each())


def name_of(entry: Location) -> str | None:
    """Return the name that an index gives to an image."""
    annotations = entry.maybe("annotations")
    found = annotations.maybe(oci.REFERENCE) if annotations else None
    return found.text() if found else None


def _entry(directory: Path, name: str | None) -> Location:
    every = entries(directory)
    found = [entry for entry in every if name is None or name_of(entry) == name]
    if len(found) != 1:
        names = ", ".join(sorted(name_of(entry) or "one without a name" for entry in every))
        named = f" called {name!r}" if name else ""
        raise InvalidDefinition(
            f"expected one image{named}, found {len(found)}",
            where=f"{directory.name}/index.json: manifests",
            why=f"the layout holds: {names or 'nothing'}",
            hint=f"name one of them: {directory}:NAME" if every else None,
        )
    return found[0]


def _reference(entry: Location, manifest: Document) -> str:
    """Return the image's name if an engine can use it as one, else one made of its digest."""
    name = name_of(entry)
    if name and _TAGGED.fullmatch(name):
        return name
    return f"mlruntime/layout:{manifest.digest.partition(':')[2][:12]}"


def _parsed(content: bytes, file: str) -> Location:
    return read_json(content.decode("utf-8", "replace"), file=file)


def _documents(blobs: LayoutBlobs, entry: Location) -> tuple[Document, Document, Location]:
    """Return an image's manifest and configuration, and the manifest parsed."""
    kind = entry.maybe("mediaType")
    if kind is not None and kind.text() in _INDEXES:
        raise entry.fail(
            "expected an image, found an index of images for several platforms",
            hint="copy one platform's image into a layout of its own, say with skopeo",
        )
    manifest = _document(blobs, entry, MANIFEST_TYPE)
    top = _parsed(manifest.content, "the image's manifest")
    return manifest, _document(blobs, top.get("config"), CONFIG_TYPE), top


def _digest(descriptor: Location) -> str:
    """Return a descriptor's digest, which becomes a path: it must be one."""
    digest = descriptor.get("digest").text()
    if not _DIGEST.fullmatch(digest):
        raise descriptor.get("digest").fail(
            f"{digest!r} is not a digest", why="expected sha256: and 64 hexadecimal digits"
        )
    return digest


def _document(blobs: LayoutBlobs, descriptor: Location, media_type: str) -> Document:
    digest = _digest(descriptor)
    path = blobs.blob(digest.partition(":")[2])
    if path is None:
        raise descriptor.get("digest").fail(f"blob {digest} is missing")
    if f"sha256:{file_sha256(path)}" != digest:
        raise HashMismatch(f"blob {digest} is damaged", hint="build the image again")
    return Document(content=path.read_bytes(), media_type=media_type)


def _layers(manifest: Location, config: Location) -> tuple[ImageLayer, ...]:
    descriptors = tuple(manifest.get("layers").each())
    diff_ids = config.get("rootfs").get("diff_ids").texts()
    if len(descriptors) != len(diff_ids):
        raise InvalidDefinition(
            "manifest and configuration disagree on the number of layers",
            why=f"{len(descriptors)} and {len(diff_ids)}",
        )
    names = _names(config, len(diff_ids))
    return tuple(
        ImageLayer(
            name=name,
            blob=LayerBlob(
                diff_id=diff_id,
                digest=_digest(descriptor),
                size=descriptor.get("size").integer(),
                unpacked=0,
            ),
            cached=True,
            seconds=0.0,
        )
        for descriptor, diff_id, name in zip(descriptors, diff_ids, names, strict=True)
    )


def _names(config: Location, count: int) -> list[str]:
    """Return what to call the layers: by what made them, where the history tells.

    The history of an image that others have built upon has steps that made no layer.
    """
    history = config.maybe("history")
    steps = [
        step
        for step in (history.each() if history else ())
        if not ((empty := step.maybe("empty_layer")) and empty.boolean())
    ]
    if len(steps) != count:
        return [f"layer {number + 1}" for number in range(count)]
    made = [step.maybe("created_by") for step in steps]
    return [
        text.text().removeprefix("mlruntime: ")[:_SHOWN] if text else f"layer {number + 1}"
        for number, text in enumerate(made)
    ]
