"""The build stage: a plan becomes an image, layer by layer, from the store's artifacts.

Only what the store lacks is made. Three things run code, each in a container without network:
Debian's packages are configured, the image's own Python compiles bytecode, and native wheels are
built.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, Final, cast

from mlruntime.build import bootstrap
from mlruntime.build.bootstrap import Changes
from mlruntime.build.context import BuildContext
from mlruntime.build.integrity import blame_damage, refuse_damaged
from mlruntime.ecosystems.debian import packages as debian
from mlruntime.ecosystems.native import build as native
from mlruntime.ecosystems.place import LIBRARIES, image_place
from mlruntime.ecosystems.pypi import bytecode
from mlruntime.ecosystems.pypi.bytecode import Wheel
from mlruntime.ecosystems.pypi.site import Site
from mlruntime.ecosystems.pypi.wheel import install_wheel
from mlruntime.engine.values import Root
from mlruntime.errors import CommandFailed, InvalidDefinition
from mlruntime.host.tasks import TaskGroup
from mlruntime.image import oci
from mlruntime.image.image import Image, ImageLayer, blob_file, verify
from mlruntime.image.plan import Plan, PlannedLayer, built_on, interpreter_digest
from mlruntime.layers.gzipped import LayerBlob
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.model import Artifact, Lock, NativeWheel
from mlruntime.store.store import Store, full_disk

_KIND: Final = "layers"
_STILL_SECONDS: Final = 5.0
_NICE: Final = 10


def build(plan: Plan, lock: Lock, shop: BuildContext, *, reference: str, created: str) -> Image:
    """Make the image. ``created`` (RFC 3339) enters its configuration, and so its digest."""
    layers = _Build(plan, lock, shop).run()
    pairs = [(layer.name, layer.blob) for layer in layers]
    config = oci.config(plan.image_config, pairs, created=created)
    manifest = oci.manifest(config, [blob for _, blob in pairs], dict(plan.image_config.labels))
    return Image(reference=reference, layers=layers, config=config, manifest=manifest)


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


class _Build:
    """One run of the stage: what has been made so far."""

    def __init__(self, plan: Plan, lock: Lock, shop: BuildContext) -> None:
        self.plan = plan
        self.lock = lock
        self.shop = shop
        self.interpreter = interpreter_digest(lock, plan.python)
        self.files: dict[str, Path] = {}
        self.names: dict[str, str] = {}
        self.done: dict[str, ImageLayer] = {}
        # What is made, or being made, in this run, by the layer's name and key.
        self.making: dict[tuple[str, str], Future[ImageLayer]] = {}
        self.starting = threading.Lock()

    def run(self) -> tuple[ImageLayer, ...]:
        for layer in self.plan.layers:
            if blob := cached_layer(self.shop.store, layer):
                self.done[layer.name] = ImageLayer(
                    name=layer.name, blob=blob, cached=True, seconds=0.0
                )
        if len(self.done) < len(self.plan.layers):
            try:
                self._make_missing()
            except Exception as error:
                blame_damage(error, self.shop.store, self.names, self.interpreter)
                raise
        return tuple(self.done[layer.name] for layer in self.plan.layers)

    def _missing(self) -> list[PlannedLayer]:
        return [layer for layer in self.plan.layers if layer.name not in self.done]

    def _make_missing(self) -> None:
        missing = self._missing()
        unbuilt = [n for layer in missing for n in layer.native if not self._built(n)]
        self._fetch(missing, unbuilt)
        self._layers([layer for layer in missing if not set(layer.native) & set(unbuilt)])
        if unbuilt:
            self._build_native(unbuilt)
            self._layers(self._missing())

    def _built(self, wheel: NativeWheel) -> Wheel | None:
        return native.built(self.shop.store, wheel)

    def _fetch(self, layers: list[PlannedLayer], unbuilt: list[NativeWheel]) -> None:
        wanted: dict[str, Artifact] = {}
        for layer in layers:
            for artifact in (*layer.packages, *layer.wheels, *(jar for _, jar in layer.jars)):
                wanted[artifact.sha256] = artifact
        for wheel in unbuilt:
            needed = (wheel.sdist, *wheel.requirements, *wheel.build_depends_unpacked)
            for artifact in (*needed, *self._build_depends(wheel)):
                wanted[artifact.sha256] = artifact
        self.files |= self.shop.fetch(wanted.values())
        self.names |= {sha256: artifact.filename for sha256, artifact in wanted.items()}
        compiled = [self._built(recipe) for layer in layers for recipe in layer.native]
        self.names |= {wheel.sha256: wheel.filename for wheel in compiled if wheel}

    def _build_depends(self, wheel: NativeWheel) -> tuple[Artifact, ...]:
        return self.lock.build_depends if wheel.build_depends != wheel.base else ()

    # bytecode

    def _wheels(self, layer: PlannedLayer) -> list[Wheel]:
        found = [
            Wheel(filename=a.filename, sha256=a.sha256, path=self.files[a.sha256])
            for a in layer.wheels
        ]
        for recipe in layer.native:
            wheel = self._built(recipe)
            assert wheel is not None, f"{recipe.name} has not been built yet"
            found.append(wheel)
        return sorted(found, key=lambda wheel: wheel.filename)

    def _bytecode(
        self, layers: list[PlannedLayer], on_compiled: Callable[[str, Path], None]
    ) -> None:
        wheels = [wheel for layer in layers for wheel in self._wheels(layer)]
        if wheels:
            self.shop.say(f"compiling the bytecode of {len(wheels)} packages")
        bytecode.compile_missing(
            self.shop.store,
            self.shop.engine,
            self._interpreter,
            wheels,
            python=self.plan.python,
            interpreter=self.interpreter,
            on_line=self.shop.now_and_then("compiling bytecode: "),
            on_compiled=on_compiled,
        )

    # what runs in the system's own layers

    def _system(self) -> list[PlannedLayer]:
        return [layer for layer in self.plan.layers if layer.source == "debian"]

    def _interpreter(self) -> Root:
        """Return the system's layers from the bottom up to the one with Python, to start with."""
        system = self._system()
        # The others first: to configure them takes longest, and bytecode is compiled meanwhile.
        for layer in system:
            self._layer(layer, {})
        name = f"python{self.plan.python}"
        for number, layer in enumerate(system, start=1):
            if any(a.name == name for a in layer.packages):
                return self._root(system[:number])
        raise InvalidDefinition(
            f"no layer has the Debian package {name}",
            where=f"runtimes/{self.plan.runtime}/runtime.yaml",
            why="the image's own Python compiles bytecode",
        )

    def _root(self, planned: list[PlannedLayer]) -> Root:
        """Return layers as what a container can start with; those that are missing are made."""
        blank = self.shop.stage((self._layer(bootstrap.BLANK, {}),), bootstrap.CONFIG)
        made = [self._layer(layer, {}) for layer in planned]
        for layer in made:
            verify(layer, self.shop.store)
        files = tuple(blob_file(self.shop.store, layer.blob.digest) for layer in made)
        return Root(image=blank, layers=files)

    # native builds

    def _build_native(self, unbuilt: list[NativeWheel]) -> None:
        images = [self._stage(built_on(self.plan, self.lock, wheel)) for wheel in unbuilt]
        with TaskGroup(len(unbuilt), self.shop.abort, name="native") as crew:
            jobs = [crew.submit(self._build_one, *job) for job in zip(images, unbuilt, strict=True)]
            for done in as_completed(jobs):
                done.result()

    def _build_one(self, image: str, wheel: NativeWheel) -> None:
        self.shop.say(f"building {wheel.name} {wheel.version} ({wheel.key[:12]})")
        started = self.shop.clock()
        native.build(
            self.shop.store,
            self.shop.engine(),
            image,
            wheel,
            files=self.files,
            build_depends=self._build_depends(wheel),
            beside={n: self.shop.images[f"{wheel.name}/{n}"] for n, _ in wheel.beside},
            on_line=self.shop.now_and_then(f"{wheel.name}: "),
        )
        self.shop.say(f"built {wheel.name} in {self.shop.clock() - started:.0f} s")

    def _stage(self, planned: tuple[PlannedLayer, ...]) -> str:
        """Load some layers as an image of their own, for something to run in."""
        layers = tuple(self.done[layer.name] for layer in planned)
        return self.shop.stage(layers, self.plan.config)

    # layers

    def _layers(self, layers: list[PlannedLayer]) -> None:
        """Write layers side by side, those with most to read first.

        The longest way is the system's, from unpacking to configuring, so all else gives way to
        it: bytecode is compiled while the system is configured, and a layer of wheels is written
        as soon as that of all its wheels is there.
        """
        order = sorted(layers, key=self._weight, reverse=True)
        left = [layer for layer in order if layer.source == "python"]
        compiled: dict[str, Path] = {}
        threads, abort = self.shop.threads, self.shop.abort
        with (
            # One more than there are cores: what is configured waits for its container.
            TaskGroup(threads + 1, abort, name="layer") as crew,
            TaskGroup(threads, abort, name="wheels", nice=_NICE) as patient,
        ):
            running = {
                crew.submit(self._layer, layer, compiled): layer
                for layer in order
                if layer.source != "python"
            }

            def start_ready() -> None:
                for layer in tuple(left):
                    if all(wheel.sha256 in compiled for wheel in self._wheels(layer)):
                        left.remove(layer)
                        running[patient.submit(self._layer, layer, compiled)] = layer

            def on_compiled(sha256: str, archive: Path) -> None:
                compiled[sha256] = archive
                start_ready()

            start_ready()
            self._bytecode(list(left), on_compiled)
            for made in self._awaited(running):
                self.done[made.name] = made

    def _awaited(self, running: dict[Future[ImageLayer], PlannedLayer]) -> Iterator[ImageLayer]:
        """Yield layers as they are finished; say now and then which ones are not."""
        started, left = self.shop.clock(), set(running)
        while left:
            finished, left = wait(left, timeout=_STILL_SECONDS, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
            if not finished:
                names = ", ".join(sorted(running[f].name for f in left if f.running()))
                self.shop.say(f"layer {names}: {self.shop.clock() - started:.0f} s so far")

    def _weight(self, layer: PlannedLayer) -> int:
        return sum(a.size for a in (*layer.wheels, *layer.packages)) + (
            sum(n.sdist.size for n in layer.native)
        )

    def _layer(self, layer: PlannedLayer, compiled: Mapping[str, Path]) -> ImageLayer:
        """Return a layer: make it, or wait for the thread that does."""
        with self.starting:
            ident = (layer.name, layer.key)
            mine = ident not in self.making
            future = self.making.setdefault(ident, Future())
        if mine:
            try:
                future.set_result(self._make(layer, compiled))
            except BaseException as error:
                future.set_exception(error)
                raise
        return future.result()

    def _make(self, layer: PlannedLayer, compiled: Mapping[str, Path]) -> ImageLayer:
        store, started = self.shop.store, self.shop.clock()
        with store.lock(f"layer-{layer.key}"), store.scratch() as scratch, full_disk(store.root):
            # Another build may have made it while we waited for the lock.
            cached = (blob := cached_layer(store, layer)) is not None
            if blob is None:
                self.shop.say(f"layer {layer.name}")
                path = scratch / "layer.tar.gz"
                with path.open("wb") as target:
                    writer = LayerWriter(cast("BinaryIO", _Stoppable(target, self.shop.stop)))
                    self._fill(writer, layer, compiled, scratch)
                    blob = writer.finish()
                store.keep_blob(path, _hex(blob.digest))
                store.write_record(_KIND, layer.key, json.dumps(asdict(blob)))
        seconds = self.shop.clock() - started
        return ImageLayer(name=layer.name, blob=blob, cached=cached, seconds=seconds)

    def _fill(
        self,
        writer: LayerWriter,
        layer: PlannedLayer,
        compiled: Mapping[str, Path],
        scratch: Path,
    ) -> None:
        if layer.source == "debian":
            # An archive with a damaged header may seem to end there.
            refuse_damaged(self.shop.store, layer.packages)
            debian.unpack(writer, [(a, self.files[a.sha256]) for a in layer.packages])
        if layer.source == "configured":
            changes = self._configured(layer, scratch)
            debian.add_changes(writer, changes.archive, changes.removed)
        if layer.source == "python":
            self._write_wheels(writer, layer, compiled)
        refuse_damaged(self.shop.store, (jar for _, jar in layer.jars))
        for target, jar in layer.jars:
            with self.files[jar.sha256].open("rb") as content:
                writer.file(target, content, jar.size)
        for directory in layer.directories:
            writer.directory(directory)
        for directory in layer.shared:
            writer.shared_directory(directory)
        for file in layer.files:
            writer.data(file.path, file.content, executable=file.executable)
        for link, points_to in layer.links:
            writer.symlink(link, points_to)

    def _write_wheels(
        self, writer: LayerWriter, layer: PlannedLayer, compiled: Mapping[str, Path]
    ) -> None:
        site = Site(image_place(self.plan.python))
        for wheel in self._wheels(layer):
            install_wheel(writer, wheel.path, wheel.filename, site, compiled[wheel.sha256])
        for name, path in site.libraries(layer.linked):
            writer.symlink(f"{LIBRARIES}/{name}", f"/{path}")

    def _configured(self, layer: PlannedLayer, scratch: Path) -> Changes:
        """Return what configuring the system's packages changes."""
        root = self._root(self._system())
        return bootstrap.configure(
            self.shop.engine(),
            root,
            [debian.read_package(a, self.files[a.sha256]) for a in layer.packages],
            scratch,
            self.shop.now_and_then("configuring Debian's packages: "),
        )
