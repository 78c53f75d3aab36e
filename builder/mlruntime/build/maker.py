"""Layers, each made once: taken from the store, or written by its content."""

import json
import threading
from dataclasses import asdict
from typing import BinaryIO, Final, cast

from mlruntime.build.context import BuildContext
from mlruntime.errors import CommandFailed
from mlruntime.host.tasks import Once
from mlruntime.image.image import ImageLayer
from mlruntime.image.sources.model import PlannedLayer, Supplies
from mlruntime.layers.gzipped import LayerBlob
from mlruntime.layers.writer import LayerWriter
from mlruntime.store.store import Store, storage_errors

_KIND: Final = "layers"


def cached_layer(store: Store, layer: PlannedLayer) -> LayerBlob | None:
    """Return the layer if the store has its descriptor and its blob."""
    record = store.record(_KIND, layer.key)
    if record is None:
        return None
    try:
        blob = LayerBlob(**json.loads(record.read_text(encoding="utf-8")))
    except (ValueError, TypeError):  # what a crash of the whole machine may leave
        return None
    path = store.blob(_hex(blob.digest))
    return blob if path and path.stat().st_size == blob.size else None


def _hex(digest: str) -> str:
    return digest.partition(":")[2]


class _Stoppable:
    """A file that refuses to be written on once ``stop`` is set."""

    def __init__(self, file: BinaryIO, stop: threading.Event) -> None:
        self._file = file
        self._stop = stop

    def write(self, data: bytes) -> int:
        if self._stop.is_set():
            raise CommandFailed("the build was interrupted")
        return self._file.write(data)


class LayerMaker:
    """Makes the layers of one build. Safe to use from several threads."""

    def __init__(self, context: BuildContext, supplies: Supplies) -> None:
        self._context = context
        self._supplies = supplies
        # By name and key.
        self._made: Once[tuple[str, str], ImageLayer] = Once()

    def layer(self, layer: PlannedLayer) -> ImageLayer:
        """Return a layer: make it, or wait for the thread that does."""
        return self._made.of((layer.name, layer.key), lambda: self._make(layer))

    def _make(self, layer: PlannedLayer) -> ImageLayer:
        store, started = self._context.store, self._context.clock()
        with (
            store.lock(f"layer-{layer.key}"),
            store.scratch() as scratch,
            storage_errors(store.root),
        ):
            # Another build may have made it while we waited for the lock.
            cached = (blob := cached_layer(store, layer)) is not None
            if blob is None:
                self._context.say(f"layer {layer.name}")
                path = scratch / "layer.tar.gz"
                with path.open("wb") as target:
                    stoppable = cast("BinaryIO", _Stoppable(target, self._context.stop))
                    writer = LayerWriter(stoppable)
                    layer.content.write(writer, self._supplies)
                    blob = writer.finish()
                store.keep_blob(path, _hex(blob.digest))
                store.write_record(_KIND, layer.key, json.dumps(asdict(blob)))
        seconds = self._context.clock() - started
        return ImageLayer(name=layer.name, blob=blob, cached=cached, seconds=seconds)
