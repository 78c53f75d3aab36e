"""What runs in the system's own layers: the interpreter, and the configuring of packages."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mlruntime.build import bootstrap
from mlruntime.build.context import BuildContext
from mlruntime.build.maker import LayerMaker
from mlruntime.build.supplies import BuildSupplies
from mlruntime.ecosystems.debian import packages as debian
from mlruntime.ecosystems.debian.packages import ConfiguredFiles
from mlruntime.engine.archives import Root
from mlruntime.errors import InvalidDefinition
from mlruntime.image.image import blob_file, verify
from mlruntime.image.plan import Plan
from mlruntime.image.sources.model import PlannedLayer
from mlruntime.lock.model import CORE
from mlruntime.lock.packages import Artifact


class SystemLayers:
    """The layers of the operating system, as something that containers start with."""

    def __init__(
        self, plan: Plan, context: BuildContext, maker: LayerMaker, supplies: BuildSupplies
    ) -> None:
        self._plan = plan
        self._context = context
        self._maker = maker
        self._supplies = supplies

    @property
    def _layers(self) -> list[PlannedLayer]:
        """Return the system of ``core``, unpacked only."""
        return [
            layer
            for layer in self._plan.layers
            if layer.content.is_system and not layer.content.configures and layer.flavour == CORE
        ]

    def interpreter(self) -> Root:
        """Return the layers that the image's own Python needs, to start it with.

        They are the system's from the bottom up to the one with Python. A Python that is not the
        system's may need all of that, and all layers that its own packages are in.
        """
        # Start these first: configuring them takes longest, and bytecode is compiled meanwhile.
        for layer in self._layers:
            self._maker.layer(layer)
        python = self._plan.python
        others = [layer for layer in self._plan.layers if not layer.content.is_system]
        for layer in others:
            if layer.content.has_interpreter(python):
                same = [x for x in others if type(x.content) is type(layer.content)]
                return self._root([*self._layers, *same])
        for number, layer in enumerate(self._layers, start=1):
            if layer.content.has_interpreter(python):
                return self._root(self._layers[:number])
        raise InvalidDefinition(
            f"no layer has the Debian package python{python}",
            where=f"runtimes/{self._plan.runtime}/runtime.yaml",
            why="the image's own Python compiles bytecode",
        )

    @contextmanager
    def configured(self, packages: tuple[Artifact, ...]) -> Iterator[ConfiguredFiles]:
        """Yield what configuring the packages of one flavour changes in the system below."""
        below, own = self._system(packages)
        root = self._root(own, below)
        with self._context.store.scratch() as scratch:
            yield bootstrap.configure(
                self._context.running,
                root,
                [debian.read_package(a, self._supplies.file(a)) for a in packages],
                scratch,
                self._context.now_and_then("configuring Debian's packages: "),
                on_top=bool(below),
            )

    def _system(
        self, packages: tuple[Artifact, ...]
    ) -> tuple[list[PlannedLayer], list[PlannedLayer]]:
        """Return the system's layers below those of a flavour, and the latter, unpacked only."""
        system = [layer for layer in self._plan.layers if layer.content.is_system]
        end = next(
            number
            for number, layer in enumerate(system)
            if layer.content.configures and layer.content.artifacts == packages
        )
        flavour = system[end].flavour
        return (
            [layer for layer in system[:end] if layer.flavour != flavour],
            [layer for layer in system[:end] if layer.flavour == flavour],
        )

    def _root(self, planned: list[PlannedLayer], below: Iterable[PlannedLayer] = ()) -> Root:
        """Return layers as what a container can start with; those that are missing are made.

        The engine gets those ``below`` as an image: they may say of files that these are gone,
        which only an image's layers can.
        """
        bottom = tuple(self._maker.layer(layer) for layer in (bootstrap.BLANK, *below))
        image = self._context.stage(bottom, bootstrap.CONFIG)
        made = [self._maker.layer(layer) for layer in planned]
        for layer in made:
            verify(layer, self._context.store)
        files = tuple(blob_file(self._context.store, layer.blob.digest) for layer in made)
        return Root(image=image, layers=files)
