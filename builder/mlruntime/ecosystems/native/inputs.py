"""Native wheels: recipes from ``images/`` and everything that goes into such a build, locked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from mlruntime.definitions.files import read_text
from mlruntime.ecosystems.native.recipe import Recipe, parse_recipe
from mlruntime.errors import InvalidDefinition
from mlruntime.lock.packages import Artifact, NativeWheel, set_digest
from mlruntime.store.store import file_sha256

if TYPE_CHECKING:
    from mlruntime.ecosystems.pypi.resolver import Static


class Compiler(Protocol):
    """What ``pypi.Resolver`` does: from requirements to their closure, one file each."""

    def compile(
        self,
        requirements: tuple[str, ...],
        *,
        constraints: tuple[str, ...] = (),
        static: tuple["Static", ...] = (),
    ) -> tuple[Artifact, ...]:
        """Return the closure, sorted by name."""

    def requirers(
        self,
        name: str,
        requirements: tuple[str, ...],
        *,
        constraints: tuple[str, ...] = (),
        static: tuple["Static", ...] = (),
    ) -> tuple[str, ...]:
        """Return which packages of a closure require one of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedRecipe:
    """A recipe with the sha256 of each file beside it that it uses: patches and scripts."""

    recipe: Recipe
    files: tuple[tuple[str, str], ...]

    def of(self, variant: str) -> "LoadedRecipe":
        """Return the recipe of one variant."""
        return replace(self, recipe=self.recipe.of(variant))

    def patches_of(self, version: str) -> tuple[tuple[str, str], ...]:
        """Return the patches of a release with their sha256, in the order they are applied."""
        known = dict(self.files)
        return tuple((name, known[name]) for name in self.recipe.release(version).patches)

    @property
    def prepare(self) -> tuple[str, str] | None:
        """Return the script that runs before the build, with its sha256."""
        name = self.recipe.prepare
        return (name, dict(self.files)[name]) if name else None


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildEnvironment:
    """What native wheels are built on: the image's Debian packages, and the compilers."""

    os: tuple[Artifact, ...]
    build_depends: tuple[Artifact, ...]
    python: str

    def digests(self, recipe: Recipe) -> tuple[str, str]:
        """Return the digests of the system and of the system with the compilers."""
        base = set_digest(self.os)
        return base, set_digest((*self.os, *self.build_depends)) if recipe.build_depends else base


def recipe_files(images: Path) -> tuple[Path, ...]:
    """Return the recipes below ``images``, sorted by path."""
    return tuple(sorted(images.glob("*/recipe.yaml")))


def load_recipes(images: Path) -> dict[str, LoadedRecipe]:
    """Read all recipes by package name; a missing file or a second recipe is an error."""
    found: dict[str, LoadedRecipe] = {}
    for path in recipe_files(images):
        where = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
        recipe = parse_recipe(read_text(path, where), file=where)
        if recipe.name in found:
            raise InvalidDefinition(f"there are two recipes for {recipe.name}", where=where)
        for name in recipe.files:
            if not (path.parent / name).is_file():
                raise InvalidDefinition(f"there is no file {name!r} beside the recipe", where=where)
        files = tuple((name, file_sha256(path.parent / name)) for name in recipe.files)
        found[recipe.name] = LoadedRecipe(recipe=recipe, files=files)
    return found


def native_wheel(
    loaded: LoadedRecipe,
    version: str,
    sdist: Artifact,
    *,
    packages: tuple[Artifact, ...],
    distributions: Mapping[str, tuple[str, ...]],
    compiler: Compiler,
    build_environment: BuildEnvironment,
    build_depends_unpacked: tuple[Artifact, ...] = (),
) -> NativeWheel:
    """Lock the build of one release from its sdist.

    ``packages`` are the wheels of the runtime's variant; ``distributions`` gives, for each
    component, its PyPI names in that variant; ``build_depends_unpacked`` are the recipe's Debian
    packages. Build requirements have the runtime's versions wherever the recipe does not ask for
    others. What is linked with is recorded by its own wheels alone: a newer package that those
    merely import must not compile anything anew.
    """
    recipe = loaded.recipe
    known = {artifact.name: artifact for artifact in packages}
    linked = []
    for component in recipe.link_against:
        names = distributions.get(component, (component,))
        wheels = [known[name] for name in names if name in known]
        if not wheels:
            raise InvalidDefinition(
                f"{recipe.name} is built against {component!r}, which has no wheel here",
                where=f"the recipe of {recipe.name}: link-against",
                hint=f"components with wheels: {', '.join(sorted(distributions)) or 'none'}",
            )
        linked += wheels
    wanted: dict[str, SpecifierSet] = {
        canonicalize_name(r.name): r.specifier for r in map(Requirement, recipe.requirements)
    }
    limits = tuple(
        f"{a.name}=={a.version}"
        for a in packages
        if wanted.get(a.name, SpecifierSet()).contains(a.version, prereleases=True)
    )
    base, build_depends = build_environment.digests(recipe)
    return NativeWheel(
        name=sdist.name,
        version=version,
        python=build_environment.python,
        sdist=sdist,
        link_against=tuple(sorted(linked, key=lambda a: a.name)),
        requirements=compiler.compile(recipe.requirements, constraints=limits),
        environment=recipe.environment,
        patches=loaded.patches_of(version),
        base=base,
        build_depends=build_depends,
        build_depends_unpacked=build_depends_unpacked,
        prepare=loaded.prepare,
    )
