"""A layer that takes away what is below it, which no definitions can ask for."""

from mlruntime.image.sources.literal import LiteralFiles
from mlruntime.image.sources.model import PlannedLayer, Supplies, layer_key
from mlruntime.layers.writer import LayerWriter


class Removal(LiteralFiles):
    """Takes files or directories away."""

    paths: tuple[str, ...]
    __slots__ = ("paths",)

    def __init__(self, *paths: str) -> None:
        super().__init__(files=())
        object.__setattr__(self, "paths", paths)

    def layer(self, name: str) -> PlannedLayer:
        return PlannedLayer(name=name, key=layer_key("sabotage", list(self.paths)), content=self)

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        for path in self.paths:
            layer.removal(path)
