"""``images/NAME/recipe.yaml``: how a package that has no wheel is built. Core: no I/O."""

import re
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from builder.document import Place, read_yaml


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedRelease:
    """A release that exists here only: a published sdist and our patches to it.

    ``version`` is that of the sdist (``of``) with a local label, ``0.28.1+mlr.1``, and what the
    patched sources say of themselves; ``patches`` names of files beside the recipe, in the order
    they are applied.
    """

    version: str
    of: str
    patches: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What turning one sdist into a wheel needs.

    ``against`` are components whose wheels must be installed meanwhile (what it is linked with);
    ``requirements`` PEP 508 build requirements; ``toolchain`` Debian packages;
    ``requires_dist`` the wheel's own dependencies, so that no sdist must be run to know them, and
    ``requires_dist_of`` those that only some versions have, by specifier;
    ``patched`` the releases that are not built as published.
    """

    name: str
    against: tuple[str, ...]
    requirements: tuple[str, ...]
    toolchain: tuple[str, ...]
    requires_dist: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    patched: tuple[PatchedRelease, ...]
    requires_dist_of: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def requires(self, version: str) -> tuple[str, ...]:
        """Return what the wheel of a version requires outside of extras."""
        own = (
            requirement
            for specifier, requirements in self.requires_dist_of
            if SpecifierSet(specifier).contains(version, prereleases=True)
            for requirement in requirements
        )
        return (*self.requires_dist, *own)

    def release(self, version: str) -> PatchedRelease:
        """Return what a version is built from; a published one is itself, without patches."""
        for release in self.patched:
            if Version(release.version) == Version(version):
                return release
        return PatchedRelease(version=version, of=version, patches=())

    @property
    def patches(self) -> tuple[str, ...]:
        """Return the names of all patches, each once."""
        return tuple(dict.fromkeys(name for release in self.patched for name in release.patches))


def parse_recipe(text: str, *, file: str) -> Recipe:
    """Read a recipe; anything unknown or malformed raises ``InvalidDefinition`` with its place."""
    top = read_yaml(text, file=file)
    optional = ("against", "requirements", "toolchain", "environment", "patched")
    top.keys(("name",), (*optional, "requires-dist", "requires-dist-of"))
    name = top.get("name").text()
    if canonicalize_name(name) != name:
        raise top.get("name").fail(
            f"{name!r} is not a normalised package name", hint=f"write {canonicalize_name(name)!r}"
        )
    environment = top.maybe("environment")
    return Recipe(
        name=name,
        against=_texts(top, "against"),
        requirements=_requirements(top, "requirements"),
        toolchain=_texts(top, "toolchain"),
        requires_dist=_requirements(top, "requires-dist"),
        environment=_environment(environment) if environment else (),
        patched=_patched(top),
        requires_dist_of=_requires_of(top.maybe("requires-dist-of")),
    )


def _texts(top: Place, key: str) -> tuple[str, ...]:
    place = top.maybe(key)
    return place.texts() if place else ()


def _requirements(top: Place, key: str) -> tuple[str, ...]:
    place = top.maybe(key)
    return tuple(_requirement(item) for item in place.each()) if place else ()


def _requires_of(place: Place | None) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = []
    for specifier, item in place.items() if place else ():
        try:
            SpecifierSet(specifier)
        except InvalidSpecifier:
            raise item.fail(f"{specifier!r} does not specify versions") from None
        found.append((specifier, tuple(_requirement(one) for one in item.each())))
    return tuple(found)


def _requirement(place: Place) -> str:
    try:
        requirement = Requirement(place.text())
    except InvalidRequirement as error:
        why = str(error).splitlines()[0]
        raise place.fail(f"{place.value!r} is not a requirement", why=why) from None
    if requirement.url:
        raise place.fail("a requirement must not name an address", hint="name and versions only")
    return str(requirement)


def _environment(place: Place) -> tuple[tuple[str, str], ...]:
    for name, value in place.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise value.fail(f"{name!r} cannot be an environment variable's name")
    return tuple(sorted((name, value.text()) for name, value in place.items()))


def _patched(top: Place) -> tuple[PatchedRelease, ...]:
    place = top.maybe("patched")
    return tuple(_release(name, item) for name, item in place.items()) if place else ()


def _release(version: str, place: Place) -> PatchedRelease:
    place.keys(("of", "patches"))
    of = place.get("of").text()
    try:
        parsed, base = Version(version), Version(of)
    except InvalidVersion as error:
        raise place.fail(str(error)) from None
    if not parsed.local or parsed.public != str(base):
        raise place.fail(
            f"{version} is not a patched release of {of}", hint=f"a local label: {of}+mlr.1"
        )
    patches = place.get("patches")
    if not patches.texts():
        raise patches.fail("a patched release without patches is the published one")
    return PatchedRelease(version=version, of=of, patches=_patches(patches))


def _patches(place: Place) -> tuple[str, ...]:
    for item in place.each():
        if "/" in item.text() or item.text().startswith("."):
            raise item.fail("a patch is a file beside the recipe", hint="its name, no directory")
    return place.texts()
