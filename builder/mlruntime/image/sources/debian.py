"""Layers of Debian packages: unpacked by us, and what configuring them changes."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mlruntime.documents.reading import Location
from mlruntime.ecosystems.debian import packages as debian
from mlruntime.errors import InvalidDefinition
from mlruntime.image.sources.model import (
    STACK_FILE,
    LayerSource,
    Packages,
    PlannedLayer,
    Planning,
    SharedOut,
    Supplies,
    layer_key,
)
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.model import CORE, Lock
from mlruntime.lock.packages import set_digest


@dataclass(frozen=True, kw_only=True, slots=True)
class DebianPackages(Packages):
    """Packages as dpkg would unpack them; nothing is run."""

    @property
    def is_system(self) -> bool:
        """Return that it is: nothing runs without."""
        return True

    def has_interpreter(self, python: str) -> bool:
        """Return whether the package of this Python is among them."""
        return any(package.name == f"python{python}" for package in self.packages)

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        """Unpack them; an archive with a damaged header may seem to end there."""
        debian.unpack(layer, [(a, supplies.intact(a)) for a in self.packages])


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfiguredPackages(Packages):
    """What changes below when the packages' own scripts configure them."""

    @property
    def is_system(self) -> bool:
        """Return that it is, as the packages are."""
        return True

    @property
    def configures(self) -> bool:
        """Return that it does."""
        return True

    @property
    def owner(self) -> str:
        """Return that they are no single package's."""
        return "what configuring the Debian packages made"

    def for_dockerfile(self) -> Iterator[tuple[str, str]]:
        """Yield what APT is asked for, all layers' packages together: APT configures them, too."""
        for package in self.packages:
            yield "packages", f"{package.name}={package.version}"

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        """Configure them, and add what has changed."""
        with supplies.configured(self.packages) as changes:
            debian.add_changes(layer, changes.archive, changes.removed)


class DebianSource(SharedOut, frozen=True, kw_only=True, tag="debian"):
    """Debian packages, by name or pattern."""

    @classmethod
    def check_stack(cls, layers: tuple[LayerSource, ...], place: Location) -> None:
        """Refuse packages that no layer configures."""
        _check_stack(layers, place)

    def check(self, planning: Planning, lock: Lock) -> None:
        """Refuse a pattern that matches no Debian package of ``core``.

        All variants have the same system: unlike a wheel's, a package's absence is a mistake. Not
        so where conda has some in its place.
        """
        if lock.has_conda or self.of != CORE:
            return
        for layer, pattern in planning.patterns[type(self)]:
            if layer == self.name and not any(fnmatchcase(a.name, pattern) for a in lock.os):
                raise InvalidDefinition(
                    f"layer {layer!r}: no Debian package of the lock matches {pattern!r}",
                    where=STACK_FILE,
                    why=f"{lock.runtime} is locked without one",
                    hint="correct it, or write a pattern for both, like libssl3*, if names differ",
                )

    def planned(self, planning: Planning) -> PlannedLayer:
        """Return the layer; unpacking is in its key."""
        here = planning.chosen(self)
        packages = tuple(a for a in planning.part.os if here(a.name))
        key = layer_key("debian", [planning.tools.unpacking, set_digest(packages)])
        return PlannedLayer(name=self.name, key=key, content=DebianPackages(packages=packages))


class ConfiguredSource(LayerSource, frozen=True, kw_only=True, tag="configured"):
    """What configuring the Debian packages of its flavour changes, all below being configured."""

    @classmethod
    def check_stack(cls, layers: tuple[LayerSource, ...], place: Location) -> None:
        """Refuse what ``DebianSource`` refuses: neither is right without the other."""
        _check_stack(layers, place)

    def planned(self, planning: Planning) -> PlannedLayer:
        """Return the layer; how packages are unpacked and configured is in its key."""
        packages, tools = planning.part.os, planning.tools
        parts = [tools.configuring, set_digest(packages)]
        if self.of != CORE:
            parts = [tools.configuring_more, set_digest(planning.lock.whole_os), parts[1]]
        content = ConfiguredPackages(packages=packages)
        return PlannedLayer(name=self.name, key=layer_key("configured", parts), content=content)


def _check_stack(layers: tuple[LayerSource, ...], place: Location) -> None:
    """Refuse Debian packages of core, or of a flavour, that are not configured at the end."""
    system = [layer for layer in layers if isinstance(layer, DebianSource | ConfiguredSource)]
    for flavour in dict.fromkeys(layer.of for layer in system):
        configured = [isinstance(x, ConfiguredSource) for x in system if x.of == flavour]
        if (sum(configured), configured[-1]) != (1, True):
            own = "" if flavour == CORE else f" of flavour {flavour}"
            named = "" if flavour == CORE else f" and `flavour: {flavour}`"
            raise place.fail(
                f"Debian packages{own} must be configured once, when all have been unpacked",
                hint=f"give one layer `source: configured`{named}, above all with `source: debian`",
            )
