"""What runs in the system's own layers: the interpreter, and the configuring of packages."""

from collections.abc import Iterator
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
from mlruntime.image.sources.debian import DebianPackages
from mlruntime.image.sources.model import PlannedLayer
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
            if isinstance(layer.content, DebianPackages)
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
        """Yield what configuring the system's packages changes."""
        root = self._root([layer for layer, _ in self._layers])
        with self._context.store.scratch() as scratch:
            yield bootstrap.configure(
                self._context.running,
                root,
                [debian.read_package(a, self._supplies.file(a)) for a in packages],
                scratch,
                self._context.now_and_then("configuring Debian's packages: "),
            )

    def _root(self, planned: list[PlannedLayer]) -> Root:
        """Return layers as what a container can start with; those that are missing are made."""
        blank = self._context.stage((self._maker.layer(bootstrap.BLANK),), bootstrap.CONFIG)
        made = [self._maker.layer(layer) for layer in planned]
        for layer in made:
            verify(layer, self._context.store)
        files = tuple(blob_file(self._context.store, layer.blob.digest) for layer in made)
        return Root(image=blank, layers=files)
