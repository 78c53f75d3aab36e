"""The build stage: a plan becomes an image, layer by layer, from the store's artifacts.

Only what the store lacks is made. Three things run code: the bootstrap of the OS layer, in a
chroot; and, in containers without network, the image's own Python compiling bytecode, and native
builds.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, cast

from builder import native, oci, owner
from builder.crew import Crew
from builder.engine import Engine
from builder.errors import CommandFailed, Unavailable
from builder.image import Image, ImageLayer, load
from builder.layering import bytecode, debian
from builder.layering.bytecode import Wheel
from builder.layering.tarball import LayerBlob, LayerWriter
from builder.layering.wheel import write_wheel
from builder.lock import Artifact, Lock, NativeWheel
from builder.plan import Plan, PlannedLayer, Tools, interpreter_digest
from builder.store import Store, full_disk

TOOLS: Final = Tools(bootstrap=debian.RECIPE, bytecode=bytecode.RECIPE, native=native.RECIPE)
_KIND: Final = "layers"
_STILL_SECONDS: Final = 5.0
_STAGE: Final = "mlruntime/stage"
Say = Callable[[str], None]


@dataclass(slots=True)
class Workshop:
    """Everything a build needs of its surroundings.

    ``fetch`` brings artifacts and returns their files by sha256; ``engine`` is only called when
    something has to run; ``say`` gets lines about progress, ``record`` every line that a native
    build writes.
    """

    store: Store
    fetch: Callable[[Iterable[Artifact]], Mapping[str, Path]]
    engine: Callable[[], Engine]
    say: Say
    images: Mapping[str, bytes]
    clock: Callable[[], float] = time.monotonic
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    stages: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    record: Say = lambda _: None

    def clear(self) -> None:
        """Remove the intermediate images, once the finished one has been loaded upon them.

        Those that a killed build left go too. An engine that fails here is left alone: what the
        build itself ended with matters more, and the next one clears up.
        """
        if not self.stages:
            return
        host, proc = owner.current().host, Path("/proc")
        with suppress(Unavailable):
            for reference in self.engine().tags(_STAGE):
                _, _, made_by = reference.partition("-")
                pid = made_by.removeprefix(f"{host}-")
                gone = pid.isdecimal() and not (proc / pid).exists()
                if reference in self.stages or gone:
                    self.engine().remove_image(reference)
        self.stages.clear()

    def abort(self) -> None:
        """Make what runs in other threads end: layers, host tools, containers."""
        self.stop.set()
        if self.stages:  # else no container runs, and none must be asked for
            self.engine().abort()


def build(plan: Plan, lock: Lock, shop: Workshop, *, reference: str, created: str) -> Image:
    """Make the image. ``created`` (RFC 3339) enters its configuration, and so its digest."""
    layers = _Build(plan, lock, shop).run()
    pairs = [(layer.name, layer.blob) for layer in layers]
    config = oci.config(plan.config, pairs, created=created)
    manifest = oci.manifest(config, [blob for _, blob in pairs], dict(plan.config.labels))
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

    def __init__(self, plan: Plan, lock: Lock, shop: Workshop) -> None:
        self.plan = plan
        self.lock = lock
        self.shop = shop
        self.interpreter = interpreter_digest(lock, plan.python)
        self.files: dict[str, Path] = {}
        self.done: dict[str, ImageLayer] = {}

    def run(self) -> tuple[ImageLayer, ...]:
        for layer in self.plan.layers:
            if blob := cached_layer(self.shop.store, layer):
                self.done[layer.name] = ImageLayer(
                    name=layer.name, blob=blob, cached=True, seconds=0.0
                )
        if len(self.done) < len(self.plan.layers):
            self._make_missing()
        return tuple(self.done[layer.name] for layer in self.plan.layers)

    def _missing(self) -> list[PlannedLayer]:
        return [layer for layer in self.plan.layers if layer.name not in self.done]

    def _make_missing(self) -> None:
        missing = self._missing()
        unbuilt = [n for layer in missing for n in layer.native if not self._built(n)]
        self._fetch(missing, unbuilt)
        self._layers([layer for layer in missing if layer.source == "debian"], {})
        ready = [layer for layer in self._missing() if not layer.native]
        self._layers(ready, self._bytecode(ready))
        if unbuilt:
            self._build_native(unbuilt)
        rest = self._missing()
        self._layers(rest, self._bytecode(rest))

    def _built(self, wheel: NativeWheel) -> Wheel | None:
        return native.built(self.shop.store, wheel)

    def _fetch(self, layers: list[PlannedLayer], unbuilt: list[NativeWheel]) -> None:
        wanted: dict[str, Artifact] = {}
        for layer in layers:
            for artifact in (*layer.packages, *layer.wheels, *(jar for _, jar in layer.jars)):
                wanted[artifact.sha256] = artifact
        for wheel in unbuilt:
            for artifact in (wheel.sdist, *wheel.requirements, *self._toolchain(wheel)):
                wanted[artifact.sha256] = artifact
        self.files |= self.shop.fetch(wanted.values())

    def _toolchain(self, wheel: NativeWheel) -> tuple[Artifact, ...]:
        return self.lock.toolchain if wheel.toolchain != wheel.base else ()

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

    def _bytecode(self, layers: list[PlannedLayer]) -> Mapping[str, Path]:
        wheels = [wheel for layer in layers for wheel in self._wheels(layer)]
        if wheels:
            self.shop.say(f"compiling the bytecode of {len(wheels)} packages")
        return bytecode.compile_missing(
            self.shop.store,
            self.shop.engine,
            lambda: self._stage([layer for layer in self.plan.layers if layer.source == "debian"]),
            wheels,
            python=self.plan.python,
            interpreter=self.interpreter,
            on_line=_now_and_then(self.shop, "compiling bytecode: "),
        )

    # native builds

    def _build_native(self, unbuilt: list[NativeWheel]) -> None:
        first = next(i for i, layer in enumerate(self.plan.layers) if layer.native)
        image = self._stage(list(self.plan.layers[:first]))
        with Crew(len(unbuilt), self.shop.abort, name="native") as crew:
            jobs = [crew.submit(self._build_one, image, wheel) for wheel in unbuilt]
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
            toolchain=self._toolchain(wheel),
            patches={n: self.shop.images[f"{wheel.name}/{n}"] for n, _ in wheel.patches},
            on_line=_both(self.shop.record, _now_and_then(self.shop, f"{wheel.name}: ")),
        )
        self.shop.say(f"built {wheel.name} in {self.shop.clock() - started:.0f} s")

    def _stage(self, planned: list[PlannedLayer]) -> str:
        """Load the first layers as an image of their own, for something to run in."""
        layers = tuple(self.done[layer.name] for layer in planned)
        pairs = [(layer.name, layer.blob) for layer in layers]
        config = oci.config(self.plan.config, pairs, created="1980-01-01T00:00:00Z")
        reference = f"{_STAGE}:{_hex(config.digest)[:16]}-{owner.current().host}-{os.getpid()}"
        manifest = oci.manifest(config, [blob for _, blob in pairs], {})
        image = Image(reference=reference, layers=layers, config=config, manifest=manifest)
        if not self.shop.stages:
            for left in self.shop.engine().sweep():
                self.shop.say(f"removed {left.kind} {left.name}, left by a run that was killed")
        load(image, self.shop.store, self.shop.engine())
        self.shop.stages.append(reference)
        return reference

    # layers

    def _layers(self, layers: list[PlannedLayer], compiled: Mapping[str, Path]) -> None:
        """Write layers side by side, those with most to read first."""
        order = sorted(layers, key=self._weight, reverse=True)
        with Crew(self.shop.threads, self.shop.abort, name="layer") as crew:
            running = {crew.submit(self._layer, layer, compiled): layer for layer in order}
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
        store, started = self.shop.store, self.shop.clock()
        with store.lock(f"layer-{layer.key}"), store.scratch() as scratch, full_disk(store.root):
            # Another build may have made it while we waited for the lock.
            if (blob := cached_layer(store, layer)) is None:
                self.shop.say(f"layer {layer.name}")
                path = scratch / "layer.tar.gz"
                with path.open("wb") as target:
                    writer = LayerWriter(cast("BinaryIO", _Stoppable(target, self.shop.stop)))
                    self._fill(writer, layer, compiled, scratch)
                    blob = writer.finish()
                store.adopt_blob(path, _hex(blob.digest))
                store.write_record(_KIND, layer.key, json.dumps(asdict(blob)))
        seconds = self.shop.clock() - started
        return ImageLayer(name=layer.name, blob=blob, cached=False, seconds=seconds)

    def _fill(
        self,
        writer: LayerWriter,
        layer: PlannedLayer,
        compiled: Mapping[str, Path],
        scratch: Path,
    ) -> None:
        if layer.packages:
            repository = scratch / "repository"
            repository.mkdir()
            debian.write_repository(repository, [(a, self.files[a.sha256]) for a in layer.packages])
            names = [a.name for a in layer.packages]
            debian.bootstrap(repository, names, scratch, writer, self.shop.stop)
        if layer.source == "python":
            for wheel in self._wheels(layer):
                path = compiled[wheel.sha256]
                write_wheel(writer, wheel.path, wheel.filename, self.plan.python, path)
        for target, jar in layer.jars:
            with self.files[jar.sha256].open("rb") as content:
                writer.file(target, content, jar.size)
        for directory in layer.directories:
            writer.directory(directory)
        for file in layer.files:
            writer.data(file.path, file.content, executable=file.executable)
        for link, points_to in layer.links:
            writer.symlink(link, points_to)


def _both(first: Say, second: Say) -> Say:
    def say(line: str) -> None:
        first(line)
        second(line)

    return say


def _now_and_then(shop: Workshop, prefix: str) -> Say:
    """Pass on a line every few seconds: enough to see that something moves."""
    last = shop.clock()

    def say(line: str) -> None:
        nonlocal last
        now = shop.clock()
        if now - last >= 3 and line.strip():
            last = now
            shop.say(prefix + line.strip()[:120])

    return say
