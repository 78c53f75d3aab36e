"""Some files of Python packages: those that images leave out, and those in a layer of their own."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from packaging.utils import canonicalize_name

from mlruntime.documents.reading import did_you_mean
from mlruntime.documents.schema import Form, Text
from mlruntime.ecosystems.pypi.site import Site
from mlruntime.ecosystems.pypi.stored import StoredWheel
from mlruntime.errors import InvalidDefinition
from mlruntime.image.sources.model import (
    STACK_FILE,
    Apart,
    Content,
    LayerSource,
    PlannedLayer,
    Planning,
    Supplies,
    is_like,
    layer_key,
)
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact, NativeWheel

# The source of layers with whole packages, in `layers.yaml`.
_WHOLE: Final = "python"


class LeftOut(Form, frozen=True, kw_only=True):
    """Files of a layer's wheels that images do not have, and why.

    ``files`` is a pattern below site-packages, ``but`` what it matches and yet is kept; ``*``
    matches ``/``, too.
    """

    files: Text
    why: Text
    but: tuple[Text, ...] = ()

    def has(self, path: str) -> bool:
        """Return whether a path, as ``installed_as`` returns it, is one of these files."""
        return is_like(path, self.files, self.but)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOutFiles(Content):
    """What a layer of wheels leaves out: put back where something is compiled against them."""

    wheels: tuple[Artifact, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Return the wheels."""
        return self.wheels

    @property
    def empty(self) -> bool:
        """Return that it is not: it is made where something is left out."""
        return False

    def layer(self, name: str) -> PlannedLayer:
        """Return the layer with these files, above the layer ``name``."""
        key = [
            [[a.name, a.version, a.filename, a.sha256] for a in self.wheels],
            [[x.files, x.but] for x in self.left_out],
        ]
        return PlannedLayer(name=f"{name}, left out", key=layer_key("left-out", key), content=self)

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        """Add the files."""
        from mlruntime.ecosystems.pypi.wheel import add_files

        site = Site(supplies.place)
        for wheel in sorted(self.wheels, key=lambda a: a.filename):
            wanted = partial(any_has, self.left_out)
            add_files(layer, supplies.file(wheel), wheel.filename, site, wanted)


@dataclass(frozen=True, kw_only=True, slots=True)
class ApartFiles(Content):
    """The files of one package that are apart from it: those of its wheel, fetched or compiled.

    ``above`` are other files of it that have layers above this one.
    """

    apart: Apart
    wheels: tuple[Artifact, ...] = ()
    native: tuple[NativeWheel, ...] = ()
    above: tuple[Apart, ...] = ()

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Return the wheel, if it is fetched."""
        return self.wheels

    @property
    def empty(self) -> bool:
        """Return whether the image does not have the package."""
        return not (self.wheels or self.native)

    @property
    def is_apart(self) -> bool:
        """Return that they are."""
        return True

    def built_on(
        self, layer: PlannedLayer, common: frozenset[str], link_against: frozenset[str]
    ) -> tuple[PlannedLayer, ...]:
        """Return the layer, if native wheels are built on this package."""
        return (layer,) if is_built_on(self.wheels, common, link_against) else ()

    def has(self, path: str) -> bool:
        """Return whether a file of the wheel, by its path below site-packages, is one of them."""
        return self.apart.has(path) and not any_has(self.above, path)

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        """Add the files; raise ``InvalidDefinition`` when the package has none of them."""
        from mlruntime.ecosystems.pypi.wheel import add_files

        site = Site(supplies.place)
        added = 0
        for wheel in stored_wheels(self.wheels, self.native, supplies):
            added += add_files(layer, wheel.path, wheel.filename, site, self.has)
        if not added:
            raise InvalidDefinition(
                f"{self.apart.package} has no file like {', '.join(self.apart.files)}",
                where=STACK_FILE,
            )


class ApartSource(LayerSource, frozen=True, kw_only=True, tag="apart"):
    """Files of one Python package in a layer of their own: those that few releases change.

    What two such layers want is in the upper one.
    """

    package: Text
    files: tuple[Text, ...]
    but: tuple[Text, ...] = ()

    @property
    def apart(self) -> Apart:
        """Return which files they are."""
        name = canonicalize_name(self.package)
        return Apart(package=name, files=self.files, but=self.but)

    @property
    def parts(self) -> tuple[Apart, ...]:
        """Return these files."""
        return (self.apart,)

    def check(self, planning: Planning, lock: Lock) -> None:
        """Refuse files of a package that no image of the flavour has: its name is wrong.

        A package that layers of the flavour name may be locked for other runtimes. So may any,
        where conda has some in PyPI's place.
        """
        package, flavour = self.apart.package, self.of
        named = {
            source.canonical(name)
            for source, patterns in planning.patterns.items()
            if source.__struct_config__.tag == _WHOLE
            for _, name in patterns
        }
        parts = [(f, lock.part(f, v.name)) for f in lock.flavour_names for v in lock.variants]
        homes = {a.name: f for f, part in parts for a in part.python}
        homes |= {wheel.name: f for f, part in parts for wheel in part.native}
        if lock.has_conda or homes.get(package) == flavour or package in named:
            return
        if package in homes:
            why, hint = f"flavour {homes[package]} brings it", f"write `flavour: {homes[package]}`"
        else:
            why = f"{lock.runtime} is locked without it"
            hint = did_you_mean(package, [name for name, home in homes.items() if home == flavour])
        raise InvalidDefinition(
            f"layer {self.name!r}: {flavour} has no Python package {self.package!r}",
            where=STACK_FILE,
            why=why,
            hint=hint,
        )

    def planned(self, planning: Planning) -> PlannedLayer:
        """Return the layer; it is empty when the image does not have the package."""
        name = self.apart.package
        wheels = tuple(a for a in planning.part.python if a.name == name)
        native = tuple(n for n in planning.part.native if n.name == name)
        ours = tuple(one for one in planning.apart if one.package == name)
        above = ours[ours.index(self.apart) + 1 :]
        key = [
            [[a.filename, a.sha256] for a in wheels],
            [[n.name, n.key, planning.tools.native(n)] for n in native],
            [[one.files, one.but] for one in (self.apart, *above)],
        ]
        content = ApartFiles(apart=self.apart, wheels=wheels, native=native, above=above)
        return PlannedLayer(name=self.name, key=layer_key("apart", key), content=content)


def stored_wheels(
    wheels: Iterable[Artifact], native: Iterable[NativeWheel], supplies: Supplies
) -> list[StoredWheel]:
    """Return wheels as they are in the store, sorted by file name."""
    found = [
        StoredWheel(filename=a.filename, sha256=a.sha256, path=supplies.file(a)) for a in wheels
    ]
    found += [supplies.wheel(one) for one in native]
    return sorted(found, key=lambda wheel: wheel.filename)


def is_built_on(
    wheels: Iterable[Artifact], common: frozenset[str], link_against: frozenset[str]
) -> bool:
    """Return whether native wheels are built on a layer of wheels.

    They are if all variants have these, or if one of them is linked with.
    """
    found = {wheel.sha256 for wheel in wheels}
    return found <= common or not found.isdisjoint(link_against)


def any_has(patterns: Iterable[LeftOut | Apart], path: str) -> bool:
    """Return whether a path is one of the files of any of the patterns."""
    return any(one.has(path) for one in patterns)
