"""What weighs how much in an image, from the lock and from what the store has."""

from collections.abc import Callable

from mlruntime.build.maker import cached_layer
from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.native import build as native
from mlruntime.ecosystems.registered import ecosystem_of
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
        return ecosystem_of(artifact).size(artifact, store.blob(artifact.sha256), has)

    def compiled(wheel: NativeWheel) -> tuple[int, int] | None:
        found = native.built(store, wheel)
        if found is None:
            return None
        released = wheel.released
        content = ecosystem_of(released).size(released, found.path, lambda _: True)
        return (found.path.stat().st_size, content) if content is not None else None

    return sizes(
        plan,
        blob=blob,
        unpacked=unpacked,
        compiled=compiled,
        budget=budget(definitions, lock.runtime, variant, lock.flavour),
    )
