"""Layers written side by side while bytecode is compiled; the first that fails ends the rest."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Final

from mlruntime.build.context import BuildContext
from mlruntime.build.maker import LayerMaker
from mlruntime.build.supplies import BuildSupplies
from mlruntime.ecosystems.pypi.stored import StoredWheel
from mlruntime.host.tasks import TaskGroup
from mlruntime.image.image import ImageLayer
from mlruntime.image.sources.model import PlannedLayer

_STILL_SECONDS: Final = 5.0
_NICE: Final = 10
# Compiles the bytecode of these wheels and says of each, as soon as it is there, by its sha256.
Compile = Callable[[list[StoredWheel], Callable[[str], None]], None]


class ParallelLayers:
    """Some layers of one build on their way: those with most to read are begun first.

    The longest way is the system's, from unpacking to configuring, so all else gives way to it:
    bytecode is compiled while the system is configured, and a layer of wheels is written as soon
    as that of all its wheels is there.
    """

    def __init__(
        self,
        layers: list[PlannedLayer],
        context: BuildContext,
        maker: LayerMaker,
        supplies: BuildSupplies,
    ) -> None:
        order = sorted(layers, key=_weight, reverse=True)
        self._context = context
        self._maker = maker
        self._supplies = supplies
        self._others = [x for x in order if not x.content.in_site_packages]
        # Layers of wheels that wait for bytecode, and what each still lacks.
        self._wheels = {
            layer.name: layer.content.all_wheels(supplies)
            for layer in order
            if layer.content.in_site_packages
        }
        self._waiting = [layer for layer in order if layer.name in self._wheels]
        self._ended: SimpleQueue[Future[Any]] = SimpleQueue()
        self._running: dict[Future[Any], str] = {}

    def write(self, compile_bytecode: Compile) -> Iterator[ImageLayer]:
        """Yield the layers as they are finished; the first error ends everything at once."""
        threads, abort = self._context.threads, self._context.abort
        left = 1 + len(self._others) + len(self._waiting)
        with (
            # Two more than there are cores: what is configured waits for its container, and so
            # does what is compiled.
            TaskGroup(threads + 2, abort, name="layer") as urgent,
            TaskGroup(threads, abort, name="wheels", nice=_NICE) as patient,
        ):
            wheels = [wheel for layer in self._waiting for wheel in self._wheels[layer.name]]

            def compile_all() -> None:
                if wheels:
                    count = len(wheels)
                    self._context.say(f"compiling the bytecode of {count} packages")
                    compile_bytecode(wheels, lambda _: self._start_ready(patient))

            self._start_ready(patient)
            self._watch(urgent.submit(compile_all), "")
            for layer in self._others:
                self._watch(urgent.submit(self._maker.layer, layer), layer.name)
            for _ in range(left):
                if (made := self._next().result()) is not None:
                    yield made

    def _start_ready(self, patient: TaskGroup) -> None:
        for layer in tuple(self._waiting):
            if all(w.sha256 in self._supplies.compiled for w in self._wheels[layer.name]):
                self._waiting.remove(layer)
                self._watch(patient.submit(self._maker.layer, layer), layer.name)

    def _watch(self, future: Future[Any], name: str) -> None:
        self._running[future] = name
        future.add_done_callback(self._ended.put)

    def _next(self) -> Future[Any]:
        """Return what has ended next; say now and then what has not."""
        started = self._context.clock()
        while True:
            try:
                return self._ended.get(timeout=_STILL_SECONDS)
            except Empty:
                names = sorted(n for f, n in tuple(self._running.items()) if n and f.running())
                if names:
                    seconds = self._context.clock() - started
                    self._context.say(f"layer {', '.join(names)}: {seconds:.0f} s so far")


def _weight(layer: PlannedLayer) -> int:
    """Return how much there is to read, in bytes."""
    fetched = sum(a.size for a in layer.content.artifacts)
    return fetched + sum(native.sdist.size for native in layer.content.native)
