"""What runs in the system's own layers: the interpreter, and the configuring of packages."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mlruntime.build import bootstrap
from mlruntime.build.context import BuildContext
from mlruntime.build.maker import LayerMaker
from mlruntime.build.supplies import BuildSupplies
from mlruntime.ecosystems.debian import packages as debian
from mlruntime.ecosystems.debian.packages import Changes
from mlruntime.engine.archives import Root
from mlruntime.errors import InvalidDefinition
from mlruntime.image.image import blob_file, verify
from mlruntime.image.plan import Plan
from mlruntime.image.sources.conda import CondaPackages
from mlruntime.image.sources.debian import ConfiguredPackages, DebianPackages
from mlruntime.image.sources.model import PlannedLayer
from mlruntime.lock.model import CORE
from mlruntime.lock.packages import Artifact


class System:
    """The layers with Debian packages, as something that containers start with."""

    def __init__(
        self, plan: Plan, context: BuildContext, maker: LayerMaker, supplies: BuildSupplies
    ) -> None:
        self._plan = plan
        self._context = context
        self._maker = maker
        self._supplies = supplies

    @property
    def _layers(self) -> list[tuple[PlannedLayer, DebianPackages]]:
        return [
            (layer, layer.content)
            for layer in self._plan.layers
            if isinstance(layer.content, DebianPackages) and layer.flavour == CORE
        ]

    def interpreter(self) -> Root:
        """Return the system's layers from the bottom up to the one with Python, to start with."""
        # Start these first: configuring them takes longest, and bytecode is compiled meanwhile.
        for layer, _ in self._layers:
            self._maker.layer(layer)
        conda = [x for x in self._plan.layers if isinstance(x.content, CondaPackages)]
        if any(a.name == "python" for x in conda for a in x.content.artifacts):
            return self._root([*(layer for layer, _ in self._layers), *conda])
        name = f"python{self._plan.python}"
        for number, (_, content) in enumerate(self._layers, start=1):
            if any(a.name == name for a in content.packages):
                return self._root([layer for layer, _ in self._layers[:number]])
        raise InvalidDefinition(
            f"no layer has the Debian package {name}",
            where=f"runtimes/{self._plan.runtime}/runtime.yaml",
            why="the image's own Python compiles bytecode",
        )

    @contextmanager
    def configured(self, packages: tuple[Artifact, ...]) -> Iterator[Changes]:
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
        kinds = DebianPackages | ConfiguredPackages
        system = [layer for layer in self._plan.layers if isinstance(layer.content, kinds)]
        contents = [layer.content for layer in system]
        end = contents.index(ConfiguredPackages(packages=packages))
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
