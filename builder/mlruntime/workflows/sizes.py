"""What weighs how much in an image, from the lock and from what the store has."""

import zipfile
from collections.abc import Callable
from pathlib import Path

from mlruntime.build.maker import cached_layer
from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.debian.packages import installed_size
from mlruntime.ecosystems.native import build as native
from mlruntime.ecosystems.pypi.wheel import installed_as
from mlruntime.image.sizes import Sizes, sizes
from mlruntime.layers.gzipped import LayerBlob
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact, NativeWheel
from mlruntime.store.store import Store
from mlruntime.workflows.inputs import budget
from mlruntime.workflows.planning import planned_image


def weigh(definitions: Definitions, store: Store, lock: Lock, variant: str) -> Sizes:
    """Return the sizes of a locked image; nothing is downloaded or built for it."""
    plan = planned_image(definitions, lock, variant)
    layers = {layer.key: layer for layer in plan.layers}

    def blob(key: str) -> LayerBlob | None:
        return cached_layer(store, layers[key])

    def unpacked(artifact: Artifact, has: Callable[[str], bool]) -> int | None:
        path = store.blob(artifact.sha256)
        if artifact.kind == "conda":  # compressed twice over: to know is to unpack it
            return None
        if artifact.kind == "jar" or path is None:
            return artifact.size if artifact.kind == "jar" else None
        return installed_size(artifact, path) if artifact.kind == "deb" else _content(path, has)

    def compiled(wheel: NativeWheel) -> tuple[int, int] | None:
        found = native.built(store, wheel)
        content = _content(found.path, lambda _: True) if found else None
        return (found.path.stat().st_size, content) if found and content is not None else None

    return sizes(
        plan,
        blob=blob,
        unpacked=unpacked,
        compiled=compiled,
        budget=budget(definitions, lock.runtime, variant, lock.flavour),
    )


def _content(wheel: Path, has: Callable[[str], bool]) -> int | None:
    """Return the size of those files of a wheel that an image ``has``, without bytecode.

    ``None`` for what is no zip file.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            return sum(i.file_size for i in archive.infolist() if has(installed_as(i.filename)))
    except (zipfile.BadZipFile, OSError):
        return None
