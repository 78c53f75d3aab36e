"""``images/NAME/recipe.yaml``: how a package that has no wheel is built. Core: no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mlruntime.documents.reading import Location, read_yaml
from mlruntime.documents.schema import Form, Text, checked, described
from mlruntime.matrix.model import VariantName

VariableName = Annotated[
    str, described("the name of an environment variable", "^[A-Za-z_][A-Za-z0-9_]*$", "LDFLAGS")
]


class PatchedForm(Form, frozen=True):
    """A release that exists here only."""

    of: Text
    patches: list[Text]


class UnpackedForm(Form, frozen=True):
    """A Debian package whose files a build uses without installing it."""

    package: Text
    release: Text
    area: Text


class VaryingForm(Form, frozen=True):
    """What a recipe has, and what a variant may add to it."""

    FORMER: ClassVar[Mapping[str, str]] = {
        "against": "link-against",
        "toolchain": "build-depends",
        "unpacked": "build-depends-unpacked",
    }

    link_against: list[Text] | None = None
    requirements: list[Text] | None = None
    environment: dict[VariableName, Text] | None = None
    patched: dict[str, PatchedForm] | None = None
    build_depends_unpacked: list[UnpackedForm] | None = None
    prepare: Text | None = None


class RecipeForm(VaryingForm, frozen=True, kw_only=True):
    """How a package that has no wheel is built."""

    name: Text
    build_depends: list[Text] | None = None
    requires_dist: list[Text] | None = None
    requires_dist_of: dict[str, list[Text]] | None = None
    variants: dict[VariantName, VaryingForm] | None = None


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
    form = checked(RecipeForm, top)
    if canonicalize_name(form.name) != form.name:
        raise top.get("name").fail(
            f"{form.name!r} is not a normalised package name",
            hint=f"write {canonicalize_name(form.name)!r}",
        )
    common = _varying(form.name, form, top)
    return replace(
        common,
        build_depends=tuple(form.build_depends or ()),
        requires_dist=_requirements(form.requires_dist, top, "requires-dist"),
        requires_dist_of=_requires_of(form.requires_dist_of or {}, top),
        variants=_variants(common, form.variants or {}, top),
    )


def _varying(name: str, form: VaryingForm, place: Location) -> Recipe:
    """Return what a recipe has in common and what a variant may add to."""
    return Recipe(
        name=name,
        link_against=tuple(form.link_against or ()),
        requirements=_requirements(form.requirements, place, "requirements"),
        build_depends=(),
        requires_dist=(),
        environment=tuple(sorted((form.environment or {}).items())),
        patched=tuple(
            _release(version, release, place.get("patched").get(version))
            for version, release in (form.patched or {}).items()
        ),
        build_depends_unpacked=tuple(
            UnpackedPackage(package=one.package, release=one.release, area=one.area)
            for one in form.build_depends_unpacked or ()
        ),
        prepare=_beside(form.prepare, place.get("prepare"), "a script") if form.prepare else "",
    )


def _variants(
    common: Recipe, forms: Mapping[VariantName, VaryingForm], top: Location
) -> tuple[tuple[str, Recipe], ...]:
    found = []
    for variant, form in forms.items():
        place = top.get("variants").get(variant)
        own = _varying(common.name, form, place)
        known = {release.version: release.of for release in common.patched}
        for release in own.patched:
            if known.get(release.version) != release.of:
                raise place.get("patched").fail(
                    f"{release.version} is no patched release of this recipe",
                    hint=f"those there are: {', '.join(known) or 'none'}",
                )
        found.append((variant, own))
    return tuple(found)


def _beside(name: str, place: Location, kind: str) -> str:
    if "/" in name or name.startswith("."):
        raise place.fail(
            f"{kind} is a file beside the recipe", hint="give its file name, without a directory"
        )
    return name


def _requires_of(
    forms: Mapping[str, list[str]], top: Location
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = []
    for specifier, requirements in forms.items():
        place = top.get("requires-dist-of")
        try:
            SpecifierSet(specifier)
        except InvalidSpecifier:
            raise place.get(specifier).fail(f"{specifier!r} does not specify versions") from None
        found.append((specifier, _requirements(requirements, place, specifier)))
    return tuple(found)


def _requirements(texts: list[str] | None, place: Location, key: str) -> tuple[str, ...]:
    return tuple(
        _requirement(text, place.get(key).at(index)) for index, text in enumerate(texts or ())
    )


def _requirement(text: str, place: Location) -> str:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        why = str(error).splitlines()[0]
        raise place.fail(f"{text!r} is not a requirement", why=why) from None
    if requirement.url:
        raise place.fail("a requirement must not name an address", hint="name and versions only")
    return str(requirement)


def _release(version: str, form: PatchedForm, place: Location) -> PatchedRelease:
    try:
        parsed, base = Version(version), Version(form.of)
    except InvalidVersion as error:
        raise place.fail(str(error)) from None
    if not parsed.local or parsed.public != str(base):
        raise place.fail(
            f"{version} is not a patched release of {form.of}",
            hint=f"a local label: {form.of}+mlr.1",
        )
    patches = place.get("patches")
    if not form.patches:
        raise patches.fail("a patched release without patches is the published one")
    names = enumerate(form.patches)
    return PatchedRelease(
        version=version,
        of=form.of,
        patches=tuple(_beside(name, patches.at(index), "a patch") for index, name in names),
    )
