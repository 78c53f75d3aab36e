"""Writing an image into an OCI layout, beside what others keep there.

Blobs go first, each in one step; the new ``index.json`` takes the place of the old one at last.
So a layout holds, at every moment, what it held before or what it is to hold.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mlruntime.errors import InvalidDefinition, UsageError
from mlruntime.image import oci
from mlruntime.image.image import Blobs, Image, blob_file
from mlruntime.image.layout import entries
from mlruntime.store.locking import held
from mlruntime.store.store import link_or_copy, storage_errors

_LAYOUT: Final = "oci-layout"
_INDEX: Final = "index.json"
_PARTIAL: Final = ".mlruntime-"


def refuse_output(directory: Path) -> None:
    """Raise ``UsageError`` unless a layout may be written here: nothing else is ever touched."""
    if not directory.exists() or (directory / _LAYOUT).is_file():
        return
    if not directory.is_dir() or any(directory.iterdir()):
        raise UsageError(
            f"{directory} is not an OCI layout, and not empty",
            why="what it holds would be lost",
            hint="name a directory that does not exist yet",
        )


def write_layout(image: Image, blobs: Blobs, directory: Path) -> None:
    """Put an image into the OCI layout in ``directory``, which is made if it is not there.

    Of the images in it only one that has the same name is replaced. Layers are hard links into
    the store where the file system allows it. Raises ``UsageError`` when something else is
    there, ``StorageError`` when it cannot be written.
    """
    directory = directory.absolute()
    refuse_output(directory)
    with storage_errors(directory, instead="write it elsewhere"):
        (directory / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        with held(directory, instead="write it elsewhere"):
            _put(image, blobs, directory)


def _put(image: Image, blobs: Blobs, directory: Path) -> None:
    _sweep(directory)
    before = _index(directory)
    files = oci.layout_files(image.config, image.manifest, image.reference)
    for path, content in files.items():
        if path not in (_LAYOUT, _INDEX):
            _write(directory / path, content)
    for layer in image.layers:
        _link(blob_file(blobs, layer.blob.digest), directory / oci.blob_path(layer.blob.digest))
    mine = oci.entry(image.manifest, image.reference)
    kept = [entry for entry in before if _named(entry) != image.reference]
    # An empty directory becomes a layout only with its index: one without it has lost it.
    _write(directory / _INDEX, oci.index([*kept, mine]).content)
    _write(directory / _LAYOUT, files[_LAYOUT])
    _remove_unused(directory, before, [*kept, mine])


def _sweep(directory: Path) -> None:
    """Remove what killed processes left half-written; the caller holds the directory."""
    for folder in (directory, directory / "blobs" / "sha256"):
        for left in folder.glob(f"{_PARTIAL}*"):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()


def _index(directory: Path) -> list[dict[str, Any]]:
    """Return the entries of a layout that is there already."""
    if not (directory / _LAYOUT).is_file():
        return []
    found = [entry.value for entry in entries(directory)]
    if not all(isinstance(entry, dict) for entry in found):
        raise InvalidDefinition("expected objects", where=f"{directory.name}/{_INDEX}: manifests")
    return found


def _named(entry: dict[str, Any]) -> str | None:
    annotations = entry.get("annotations")
    return annotations.get(oci.REFERENCE) if isinstance(annotations, dict) else None


def _write(target: Path, content: bytes) -> None:
    """Write a file in one step; whoever may read the directory may read it."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=_PARTIAL, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).replace(target)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _link(source: Path, target: Path) -> None:
    if target.is_file() and target.stat().st_size == source.stat().st_size:
        return
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=_PARTIAL) as folder:
        made = Path(folder) / target.name
        link_or_copy(source, made)
        made.replace(target)


def _remove_unused(
    directory: Path, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    """Remove the blobs that only images no longer in the index have needed.

    Nothing is removed when what others need cannot be told.
    """
    gone = [entry for entry in before if entry not in after]
    try:
        needed = {digest for entry in after for digest in _reached(directory, entry)}
        unused = {digest for entry in gone for digest in _reached(directory, entry)} - needed
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    for digest in unused:
        with suppress(OSError):
            (directory / oci.blob_path(digest)).unlink()


def _reached(directory: Path, entry: dict[str, Any]) -> Iterator[str]:
    """Yield the digests of an image's manifest and of all that it refers to."""
    digest = str(entry["digest"])
    algorithm, _, value = digest.partition(":")
    if not (algorithm.isalnum() and value.isalnum()):
        raise ValueError(digest)
    yield digest
    if "manifest" not in str(entry["mediaType"]) and "index" not in str(entry["mediaType"]):
        return
    document = json.loads((directory / oci.blob_path(digest)).read_bytes())
    for key in ("manifests", "layers"):
        for child in document.get(key, ()):
            yield from _reached(directory, child)
    if "config" in document:
        yield from _reached(directory, document["config"])
