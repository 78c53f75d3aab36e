"""``images/NAME/recipe.yaml``: how a package that has no wheel is built. Core: no I/O."""

import re
from dataclasses import dataclass, replace

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mlruntime.documents.reading import Place, did_you_mean, read_yaml
from mlruntime.matrix.model import VARIANTS


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
class UnpackedPackage:
    """A Debian package whose files a build uses without installing it.

    It may come from another ``release`` ("13") and another ``area`` ("non-free") of the archive
    than the image, which has none of it.
    """

    package: str
    release: str
    area: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What turning one sdist into a wheel needs.

    ``link_against`` are components, or packages by name, whose wheels must be installed meanwhile
    (what it is linked with);
    ``requirements`` PEP 508 build requirements; ``build_depends`` Debian packages;
    ``requires_dist`` the wheel's own dependencies, so that no sdist must be run to know them, and
    ``requires_dist_of`` those that only some versions have, by specifier;
    ``patched`` the releases that are not built as published; ``build_depends_unpacked``
    Debian packages that are laid out but not installed; ``prepare`` the name of a shell script
    beside the recipe that runs before the build, or nothing. ``variants`` say what a variant has
    beyond that.
    """

    name: str
    link_against: tuple[str, ...]
    requirements: tuple[str, ...]
    build_depends: tuple[str, ...]
    requires_dist: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    patched: tuple[PatchedRelease, ...]
    requires_dist_of: tuple[tuple[str, tuple[str, ...]], ...] = ()
    build_depends_unpacked: tuple[UnpackedPackage, ...] = ()
    prepare: str = ""
    variants: tuple[tuple[str, "Recipe"], ...] = ()

    def of(self, variant: str) -> "Recipe":
        """Return the recipe of one variant: this one and what that variant adds to it."""
        more = dict(self.variants).get(variant)
        if more is None:
            return replace(self, variants=())
        patches = {release.version: release.patches for release in more.patched}
        return replace(
            self,
            link_against=(*self.link_against, *more.link_against),
            requirements=(*self.requirements, *more.requirements),
            environment=tuple(sorted((dict(self.environment) | dict(more.environment)).items())),
            patched=tuple(
                replace(r, patches=(*r.patches, *patches.get(r.version, ()))) for r in self.patched
            ),
            build_depends_unpacked=(*self.build_depends_unpacked, *more.build_depends_unpacked),
            prepare=more.prepare or self.prepare,
            variants=(),
        )

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
        """Return the names of all patches, those of variants too, each once."""
        recipes = (self, *(recipe for _, recipe in self.variants))
        releases = (release for recipe in recipes for release in recipe.patched)
        return tuple(dict.fromkeys(name for release in releases for name in release.patches))

    @property
    def files(self) -> tuple[str, ...]:
        """Return the names of all files beside the recipe that it uses, each once."""
        scripts = (recipe.prepare for recipe in (self, *(recipe for _, recipe in self.variants)))
        return (*self.patches, *dict.fromkeys(name for name in scripts if name))


def parse_recipe(text: str, *, file: str) -> Recipe:
    """Read a recipe; anything unknown or malformed raises ``InvalidDefinition`` with its place."""
    top = read_yaml(text, file=file)
    optional = ("build-depends", "requires-dist", "requires-dist-of", "variants")
    top.keys(("name",), (*_VARYING, *optional), former=_FORMER)
    name = top.get("name").text()
    if canonicalize_name(name) != name:
        raise top.get("name").fail(
            f"{name!r} is not a normalised package name", hint=f"write {canonicalize_name(name)!r}"
        )
    common = _varying(name, top)
    return replace(
        common,
        build_depends=_texts(top, "build-depends"),
        requires_dist=_requirements(top, "requires-dist"),
        requires_dist_of=_requires_of(top.maybe("requires-dist-of")),
        variants=_variants(common, top.maybe("variants")),
    )


_VARYING = (
    "link-against",
    "requirements",
    "environment",
    "patched",
    "build-depends-unpacked",
    "prepare",
)

_FORMER = {
    "against": "link-against",
    "toolchain": "build-depends",
    "unpacked": "build-depends-unpacked",
}


def _varying(name: str, place: Place) -> Recipe:
    """Read the keys that a recipe has in common and that a variant may add to."""
    environment, unpacked = place.maybe("environment"), place.maybe("build-depends-unpacked")
    prepare = place.maybe("prepare")
    return Recipe(
        name=name,
        link_against=_texts(place, "link-against"),
        requirements=_requirements(place, "requirements"),
        build_depends=(),
        requires_dist=(),
        environment=_environment(environment) if environment else (),
        patched=_patched(place),
        build_depends_unpacked=tuple(_unpacked(item) for item in unpacked.each())
        if unpacked
        else (),
        prepare=_beside(prepare, "a script") if prepare else "",
    )


def _variants(common: Recipe, place: Place | None) -> tuple[tuple[str, Recipe], ...]:
    found = []
    for variant, item in place.items() if place else ():
        if variant not in VARIANTS:
            raise item.fail(f"unknown variant {variant!r}", hint=did_you_mean(variant, VARIANTS))
        item.keys((), _VARYING, former=_FORMER)
        own = _varying(common.name, item)
        known = {release.version: release.of for release in common.patched}
        for release in own.patched:
            if known.get(release.version) != release.of:
                raise item.get("patched").fail(
                    f"{release.version} is no patched release of this recipe",
                    hint=f"those there are: {', '.join(known) or 'none'}",
                )
        found.append((variant, own))
    return tuple(found)


def _unpacked(place: Place) -> UnpackedPackage:
    place.keys(("package", "release", "area"))
    return UnpackedPackage(**{key: value.text() for key, value in place.items()})


def _beside(place: Place, kind: str) -> str:
    if "/" in place.text() or place.text().startswith("."):
        raise place.fail(f"{kind} is a file beside the recipe", hint="its name, no directory")
    return place.text()


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
    return tuple(_beside(item, "a patch") for item in place.each())
