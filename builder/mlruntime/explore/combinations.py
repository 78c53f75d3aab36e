"""Combinations of releases, in order. Core: no I/O."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby, product

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from mlruntime.documents.reading import Location, did_you_mean, read_yaml
from mlruntime.errors import UsageError
from mlruntime.matrix.model import ANY, Component, Matrix, release_order


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """A component that varies, and the releases to try, in order of preference."""

    component: str
    releases: tuple[Version, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Combination:
    """One release for each axis, in the order of the axes."""

    versions: tuple[tuple[str, Version], ...]

    @property
    def name(self) -> str:
        """Return what files and image tags of this combination are called."""
        parts = (f"{component}-{version}" for component, version in self.versions)
        return "_".join(re.sub(r"[^a-z0-9.-]", "-", part) for part in parts)

    @property
    def text(self) -> str:
        """Return the combination as people write it: ``tensorflow 2.16.2, horovod 0.28.1``."""
        return ", ".join(f"{component} {version}" for component, version in self.versions)

    @property
    def request(self) -> tuple[tuple[str, SpecifierSet], ...]:
        """Return the request lines that allow these releases and no others.

        ``==`` would let a release of the same number with a local label pass.
        """
        return tuple((name, SpecifierSet(f"==={version}")) for name, version in self.versions)


@dataclass(frozen=True, kw_only=True, slots=True)
class Combinations:
    """All combinations of some releases; each of them has the request lines ``settings``, too."""

    axes: tuple[Axis, ...]
    settings: tuple[str, ...] = ()

    @property
    def combinations(self) -> tuple[Combination, ...]:
        """Return the combinations, the first axis varying slowest: neighbours share the most."""
        names = [axis.component for axis in self.axes]
        return tuple(
            Combination(versions=tuple(zip(names, chosen, strict=True)))
            for chosen in product(*(axis.releases for axis in self.axes))
        )


def parse_settings(axes: Iterable[str], settings: Iterable[str], matrix: Matrix) -> Combinations:
    """Read ``tensorflow=2.15..2.21`` and the like; anything else is a ``UsageError``.

    An axis's right side is a list of parts, separated by commas: ``A..B`` stands for the
    newest release of each minor from A to B, ``2.16`` for the newest release of that minor,
    ``2.16.1`` for that very release, ``*`` for the newest release of every minor.
    """
    found: dict[str, Axis] = {}
    for axis in axes:
        spot = Location(axis, file="--axis", error=UsageError)
        name, equals, text = (part.strip() for part in axis.partition("="))
        if not equals or text.startswith("="):
            raise spot.fail(f"{axis!r} is not an axis", hint="COMPONENT=A..B, or a file")
        if name in found:
            raise spot.fail(f"{name} is listed twice")
        found[name] = _axis(spot, name, text.split(","), matrix.components)
    if not found:
        raise UsageError("there is no axis", hint="--axis tensorflow=2.15..2.21")
    return Combinations(axes=tuple(found.values()), settings=tuple(settings))


def parse_combinations(text: str, *, file: str, matrix: Matrix) -> Combinations:
    """Read a file with ``axes`` (a component to its releases) and ``set`` (request lines)."""
    top = read_yaml(text, file=file)
    top.keys(("axes",), ("set",))
    axes = []
    for name, item in top.get("axes").items():
        parts = item.texts() if isinstance(item.value, list) else item.text().split(",")
        axes.append(_axis(item, name, parts, matrix.components))
    if not axes:
        raise top.get("axes").fail("there is no axis", hint="COMPONENT: A..B")
    settings = top.maybe("set")
    return Combinations(axes=tuple(axes), settings=settings.texts() if settings else ())


def _axis(
    place: Location, name: str, parts: Iterable[str], components: Mapping[str, Component]
) -> Axis:
    if name not in components:
        raise place.fail(f"unknown component {name!r}", hint=did_you_mean(name, components))
    releases = components[name].releases
    found = {version for part in parts for version in _part(place, part.strip(), releases)}
    return Axis(component=name, releases=release_order(found))


def _part(place: Location, part: str, releases: tuple[Version, ...]) -> list[Version]:
    low, dots, high = part.partition("..")
    if part == ANY:
        found = newest_of_each_minor(releases)
    elif dots:
        bounds = _version(place, low).release, _version(place, high).release
        found = newest_of_each_minor(
            r
            for r in releases
            if r.release[: len(bounds[0])] >= bounds[0] and r.release[: len(bounds[1])] <= bounds[1]
        )
    else:
        wanted = _version(place, part)
        # 2.15 is a minor, though PEP 440 takes it for 2.15.0.
        found = [r for r in releases if str(r) == str(wanted)] or [
            r for r in releases if r.release[: len(wanted.release)] == wanted.release
        ][:1]
    if not found:
        raise place.fail(
            f"{part!r} matches no release in the matrix", hint="add the release to matrix.yaml"
        )
    return found


def newest_of_each_minor(releases: Iterable[Version]) -> list[Version]:
    """Return the most preferred release of each minor, in order of preference."""
    ordered = sorted(release_order(releases), key=_minor, reverse=True)
    return [next(group) for _, group in groupby(ordered, key=_minor)]


def _minor(version: Version) -> tuple[int, ...]:
    return version.release[:2]


def _version(place: Location, text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        raise place.fail(
            f"{text!r} is not a version", hint="for example 2.15..2.21 or 2.16.2,2.17.1"
        ) from None
