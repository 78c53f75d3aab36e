"""A layer of all packages that an ecosystem has locked and that stand alone."""

from dataclasses import dataclass

from mlruntime.documents.reading import did_you_mean
from mlruntime.documents.schema import Text
from mlruntime.errors import InvalidDefinition
from mlruntime.image.sources.model import (
    STACK_FILE,
    LayerSource,
    Packages,
    PlannedLayer,
    Planning,
    Supplies,
    layer_key,
)
from mlruntime.layers.writer import LayerWriter
from mlruntime.matrix.origins import ORIGINS


@dataclass(frozen=True, kw_only=True, slots=True)
class EcosystemPackages(Packages):
    """Packages, installed as their ecosystem does it."""

    origin: str

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        """Install them, each compared with its hash first."""
        supplies.install(self.origin, layer, self.packages)


class EcosystemSource(LayerSource, frozen=True, kw_only=True, tag="ecosystem"):
    """All packages of an ecosystem that is joined with no other one."""

    ecosystem: Text

    def planned(self, planning: Planning) -> PlannedLayer:
        """Return the layer; raise ``InvalidDefinition`` for an ecosystem that is not there."""
        alone = [origin for origin, traits in ORIGINS.items() if not traits.joined]
        if self.ecosystem not in alone:
            raise InvalidDefinition(
                f"layer {self.name!r}: no ecosystem that stands alone is called {self.ecosystem!r}",
                where=STACK_FILE,
                why="packages of Debian, conda, PyPI and Maven have sources of their own",
                hint=did_you_mean(self.ecosystem, alone),
            )
        packages = tuple(
            a for a in planning.part.packages if a.origin.partition(":")[0] == self.ecosystem
        )
        recipe = planning.tools.installing(self.ecosystem)
        key = layer_key(
            "ecosystem", [self.ecosystem, recipe, [[a.name, a.sha256] for a in packages]]
        )
        content = EcosystemPackages(packages=packages, origin=self.ecosystem)
        return PlannedLayer(name=self.name, key=key, content=content)
