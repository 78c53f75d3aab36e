"""A layer of jars, put into one directory."""

from dataclasses import dataclass

from mlruntime.documents.schema import Text
from mlruntime.errors import InvalidLock
from mlruntime.image.sources.model import (
    Content,
    LayerSource,
    PlannedLayer,
    Planning,
    Supplies,
    layer_key,
)
from mlruntime.layers.paths import UnsafePath, checked
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.packages import Artifact


@dataclass(frozen=True, kw_only=True, slots=True)
class Jars(Content):
    """Jars by their path in the image."""

    jars: tuple[tuple[str, Artifact], ...]

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Return the jars."""
        return tuple(jar for _, jar in self.jars)

    @property
    def empty(self) -> bool:
        """Return whether there are none."""
        return not self.jars

    def built_on(
        self, layer: PlannedLayer, common: frozenset[str], link_against: frozenset[str]
    ) -> tuple[PlannedLayer, ...]:
        """Return nothing: no wheel is compiled with jars."""
        del layer, common, link_against
        return ()

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        """Copy them, each compared with its hash first."""
        for target, jar in self.jars:
            with supplies.intact(jar).open("rb") as content:
                layer.file(target, content, jar.size)


class JarsSource(LayerSource, frozen=True, kw_only=True, tag="jars"):
    """The locked jars, put into a directory."""

    into: Text

    def planned(self, planning: Planning) -> PlannedLayer:
        """Return the layer; a file name that no image may have is an error."""
        into = planning.render(self.into)
        jars = tuple((f"{into}/{jar.filename}", jar) for jar in planning.part.jars)
        for path, jar in jars:
            try:
                checked(path)
            except UnsafePath as error:
                raise InvalidLock(f"{jar.name}: {error}", hint="lock another version") from None
        key = layer_key("jars", [[path, jar.sha256] for path, jar in jars])
        return PlannedLayer(name=self.name, key=key, content=Jars(jars=jars))
