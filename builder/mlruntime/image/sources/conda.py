"""Layers of conda packages, which all go into one prefix."""

from dataclasses import dataclass

from mlruntime.image.sources.model import (
    Packages,
    PlannedLayer,
    Planning,
    SharedOut,
    Supplies,
    layer_key,
)
from mlruntime.layers.writer import LayerWriter

# How packages are unpacked: raised when a layer's bytes change for the same packages.
_RECIPE = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class CondaPackages(Packages):
    """Conda packages, unpacked into the prefix that every image has for them."""

    def has_interpreter(self, python: str) -> bool:
        """Return whether there is a Python among them: of conda, an image has only that of it."""
        del python
        return any(package.name == "python" for package in self.packages)

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        """Unpack them."""
        # Imported late: planning installs nothing.
        from mlruntime.ecosystems.conda.install import Prefix

        prefix = Prefix(layer, supplies.place)
        for artifact in self.packages:
            prefix.install(artifact, supplies.intact(artifact))


class CondaSource(SharedOut, frozen=True, kw_only=True, tag="conda"):
    """Conda packages, by name or pattern."""

    def planned(self, planning: Planning) -> PlannedLayer:
        """Return the layer; the Python whose folders packages are put into is in its key."""
        here = planning.chosen(self)
        found = (p.artifact for p in planning.part.conda if here(p.name))
        packages = tuple(sorted(found, key=lambda a: a.name))
        key = [_RECIPE, planning.python, [[a.filename, a.sha256, a.origin] for a in packages]]
        content = CondaPackages(packages=packages)
        return PlannedLayer(name=self.name, key=layer_key("conda", key), content=content)
