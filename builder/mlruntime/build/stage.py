"""The build stage: a plan becomes an image, layer by layer, from the store's artifacts.

Only what the store lacks is made. Three things run code, each in a container without network:
Debian's packages are configured, the image's own Python compiles bytecode, and native wheels are
built.
"""

import logging
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path
from typing import Final

from mlruntime.build.conflicts import refuse_conflicts
from mlruntime.build.context import BuildContext
from mlruntime.build.integrity import blame_damage
from mlruntime.build.maker import LayerMaker, cached_layer
from mlruntime.build.parallel import ParallelLayers
from mlruntime.build.supplies import BuildSupplies
from mlruntime.build.system import SystemLayers
from mlruntime.ecosystems.native import build as native
from mlruntime.ecosystems.pypi import bytecode
from mlruntime.ecosystems.pypi.stored import StoredWheel
from mlruntime.host.tasks import TaskGroup
from mlruntime.image import oci
from mlruntime.image.image import Image, ImageLayer
from mlruntime.image.plan import Plan, built_on
from mlruntime.image.sources.model import PlannedLayer
from mlruntime.image.sources.python import interpreter_digest
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import NativeWheel

_LOG: Final = logging.getLogger(__name__)


def build(plan: Plan, lock: Lock, context: BuildContext, *, reference: str, created: str) -> Image:
    """Make the image. ``created`` (RFC 3339) enters its configuration, and so its digest."""
    layers = _Build(plan, lock, context).run()
    pairs = [(layer.name, layer.blob) for layer in layers]
    config = oci.config(plan.image_config, pairs, created=created)
    manifest = oci.manifest(config, [blob for _, blob in pairs], dict(plan.image_config.labels))
    return Image(reference=reference, layers=layers, config=config, manifest=manifest)


class _Build:
    """One run of the stage: which layers there are so far, by name."""

    def __init__(self, plan: Plan, lock: Lock, context: BuildContext) -> None:
        self._plan = plan
        self._lock = lock
        self._context = context
        self._interpreter = interpreter_digest(lock, plan.python)
        self._supplies = BuildSupplies(plan, lock, context)
        self._maker = LayerMaker(context, self._supplies)
        self._system = SystemLayers(plan, context, self._maker, self._supplies)
        self._supplies.configure_with(self._system.configured)
        self._done: dict[str, ImageLayer] = {}

    def run(self) -> tuple[ImageLayer, ...]:
        for layer in self._plan.layers:
            if blob := cached_layer(self._context.store, layer):
                _LOG.info("layer %s: in the store (%s)", layer.name, blob.digest)
                self._done[layer.name] = ImageLayer(
                    name=layer.name, blob=blob, cached=True, seconds=0.0
                )
        try:
            if len(self._done) < len(self._plan.layers):
                self._make_missing()
            else:
                self._refuse_conflicts()
        except Exception as error:
            names = self._supplies.names
            blame_damage(error, self._context.store, names, self._interpreter)
            raise
        return tuple(self._done[layer.name] for layer in self._plan.layers)

    def _missing(self) -> list[PlannedLayer]:
        return [layer for layer in self._plan.layers if layer.name not in self._done]

    def _make_missing(self) -> None:
        missing = self._missing()
        unbuilt = [n for layer in missing for n in layer.content.native if not self._is_built(n)]
        self._fetch(missing, unbuilt)
        self._refuse_conflicts()
        self._write([x for x in missing if not set(x.content.native) & set(unbuilt)])
        if unbuilt:
            self._build_native(unbuilt)
            self._refuse_conflicts()
            self._write(self._missing())

    def _refuse_conflicts(self) -> None:
        refuse_conflicts(self._plan, self._supplies, self._context.store)

    def _is_built(self, wheel: NativeWheel) -> bool:
        return self._supplies.built(wheel) is not None

    def _fetch(self, layers: list[PlannedLayer], unbuilt: list[NativeWheel]) -> None:
        wanted = [artifact for layer in layers for artifact in layer.content.artifacts]
        for wheel in unbuilt:
            wanted += (wheel.sdist, *wheel.requirements, *wheel.build_depends_unpacked)
            wanted += self._supplies.build_depends(wheel)
            below = built_on(self._plan, self._lock, wheel)
            beside = [layer for layer in below if layer not in self._plan.layers]
            wanted += [artifact for layer in beside for artifact in layer.content.artifacts]
        self._supplies.fetch(wanted)

    def _write(self, layers: list[PlannedLayer]) -> None:
        parallel = ParallelLayers(layers, self._context, self._maker, self._supplies)
        for made in parallel.write(self._compile):
            _LOG.info("layer %s: written (%s)", made.name, made.blob.digest)
            self._done[made.name] = made

    def _compile(self, wheels: list[StoredWheel], on_compiled: Callable[[str], None]) -> None:
        def keep(sha256: str, archive: Path) -> None:
            self._supplies.compiled[sha256] = archive
            on_compiled(sha256)

        bytecode.compile_missing(
            self._context.store,
            self._context.running,
            self._system.interpreter,
            wheels,
            python=self._plan.python,
            program=f"{self._lock.interpreter}/python{self._plan.python}",
            interpreter=self._interpreter,
            on_line=self._context.now_and_then("compiling bytecode: "),
            on_compiled=keep,
        )

    def _build_native(self, unbuilt: list[NativeWheel]) -> None:
        images = [self._stage(built_on(self._plan, self._lock, wheel)) for wheel in unbuilt]
        with TaskGroup(len(unbuilt), self._context.abort, name="native") as group:
            jobs = [
                group.submit(self._build_one, *job) for job in zip(images, unbuilt, strict=True)
            ]
            for done in as_completed(jobs):
                done.result()

    def _build_one(self, image: str, wheel: NativeWheel) -> None:
        self._context.say(f"building {wheel.name} {wheel.version} ({wheel.key[:12]})")
        started = self._context.clock()
        native.build(
            self._context.store,
            self._context.running,
            image,
            wheel,
            files=self._supplies.files,
            build_depends=self._supplies.build_depends(wheel),
            beside={n: self._context.images[f"{wheel.name}/{n}"] for n, _ in wheel.beside},
            on_line=self._context.now_and_then(f"{wheel.name}: "),
        )
        self._context.say(f"built {wheel.name} in {self._context.clock() - started:.0f} s")

    def _stage(self, planned: tuple[PlannedLayer, ...]) -> str:
        """Load some layers as an image of their own, for something to run in.

        What the image starts with may be in a layer above them: its entry point is not theirs.
        """
        layers = tuple(self._done.get(x.name) or self._maker.layer(x) for x in planned)
        return self._context.stage(layers, replace(self._plan.config, entrypoint=()))
