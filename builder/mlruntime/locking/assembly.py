"""Joins what the ecosystems answer into one lock."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Protocol

from mlruntime.ecosystems.maven.repository import LockedJars
from mlruntime.ecosystems.maven.shipped import ShippedJar, ShippedJars
from mlruntime.ecosystems.native.inputs import BuildEnvironment, Compiler, LoadedRecipe
from mlruntime.ecosystems.native.recipe import UnpackedPackage
from mlruntime.ecosystems.pypi.resolver import Static, Target
from mlruntime.errors import ArtifactNotFound, InvalidDefinition, UsageError
from mlruntime.lock.model import Artifact, Lock, Omission
from mlruntime.locking.request import LockRequest, Wanted
from mlruntime.locking.variants import PythonSide, published, split


class Archive(Protocol):
    """What ``debian.Archive`` does."""

    @property
    def base(self) -> tuple[str, ...]:
        """Return the names every system has."""

    def has(self, name: str) -> bool:
        """Return whether there is a package of this name."""

    def closure(self, names: Iterable[str]) -> tuple[Artifact, ...]:
        """Return what an installation of ``names`` brings, sorted by name."""

    def package(self, name: str) -> Artifact:
        """Return one package, without what it depends on."""


class Repository(Protocol):
    """What ``maven.Repository`` does."""

    def closure(
        self, wanted: Iterable[tuple[str, str]], shipped: Callable[[], ShippedJars]
    ) -> LockedJars:
        """Return jars and those they need, less what Spark ships."""


class Registries(Protocol):
    """The three ecosystems, wherever they are."""

    def archive(self, release: str, areas: tuple[str, ...] = ("main",)) -> Archive:
        """Return a Debian release, or some areas of it (``non-free``)."""

    def compiler(self, target: Target, snapshot: str) -> Compiler:
        """Return the Python resolver for one target and moment."""

    def repository(self) -> Repository:
        """Return the Maven repository."""

    def shipped(self, sdist: Artifact) -> tuple[ShippedJar, ...]:
        """Return the jars in a source distribution."""


def assemble(
    asked: LockRequest,
    *,
    inputs: tuple[tuple[str, str], ...],
    recipes: Mapping[str, LoadedRecipe],
    registries: Registries,
    omit: Iterable[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Lock:
    """Ask every ecosystem and return the lock; equal answers give an equal lock.

    A component in ``omit`` is left out if, and only if, one of its artifacts is in no registry;
    any other artifact that is not found raises ``ArtifactNotFound``. ``say`` hears what is going
    on, a line at a time.
    """
    tried = _tried(asked, omit)
    archive = registries.archive(dict(asked.versions)["debian"])
    system = _system(asked.without(tried), archive)
    target = target_of(system)
    compiler = registries.compiler(target, asked.snapshot)
    repository = registries.repository()
    shipped = cache(partial(_shipped, asked, recipes, compiler, registries))
    omitted = [
        found
        for component in tried
        if (found := _omission(asked, component, recipes, archive, compiler, repository, shipped))
    ]
    asked = asked.without(o.component for o in omitted)
    if len(omitted) < len(tried):
        system = _system(asked, archive)
    say(f"Debian: {len(system)} packages")
    used = {w.name: recipes[w.name] for w in asked.of("pypi") if w.name in recipes}
    build_depends = _build_depends(system, used.values(), archive)
    if build_depends:
        say(f"Debian, to compile with: {len(build_depends)} more")
    jars = _jars(asked, repository, shipped, say)
    say(f"Maven: {len(jars)} jars")
    bench = BuildEnvironment(
        os=system, build_depends=build_depends, python="{}.{}".format(*target.minor)
    )
    side = PythonSide(
        asked=asked,
        recipes=used,
        compiler=compiler,
        bench=bench,
        unpacked=_unpacked(asked, used, registries),
    )
    common, own = split(asked, side.variants(say))
    return Lock(
        runtime=asked.runtime,
        inputs=inputs,
        snapshot=asked.snapshot,
        components=asked.common(),
        omitted=tuple(omitted),
        os=system,
        build_depends=build_depends,
        python=common,
        jars=jars,
        variants=own,
    )


def target_of(system: Iterable[Artifact]) -> Target:
    """Return what wheels must fit, read off the versions of Debian's Python and C library."""
    python, glibc = "", (0, 0)
    for package in system:
        upstream = re.match(r"(?:\d+:)?(\d+)\.(\d+)(?:\.(\d+))?", package.version)
        if not upstream:
            continue
        major, minor, patch = upstream.groups(default="0")
        if package.name == "libc6":
            glibc = (int(major), int(minor))
        elif package.name == f"python{major}.{minor}":
            python = f"{major}.{minor}.{patch}"
    if not python or not glibc[0]:
        raise InvalidDefinition(
            "the system has no Python interpreter", where="matrix.yaml: components.python.artifacts"
        )
    return Target(python=python, glibc=glibc)


def _tried(asked: LockRequest, omit: Iterable[str]) -> tuple[str, ...]:
    known = {w.component for w in asked.wanted}
    tried = tuple(sorted(set(omit)))
    for component in tried:
        if component not in known:
            raise UsageError(
                f"{component!r} is not a component of {asked.runtime} with artifacts of its own",
                hint=f"known: {', '.join(sorted(known))}",
            )
    return tried


def _omission(
    asked: LockRequest,
    component: str,
    recipes: Mapping[str, LoadedRecipe],
    archive: Archive,
    compiler: Compiler,
    repository: Repository,
    shipped: Callable[[], ShippedJars],
) -> Omission | None:
    """Return why a component cannot be had, or ``None`` when it can."""
    for wanted in asked.wanted:
        if wanted.component != component:
            continue
        try:
            if wanted.origin == "debian":
                if not archive.has(wanted.name):
                    raise _no_package(wanted)
            elif wanted.origin == "maven":
                repository.closure(((wanted.name, wanted.version),), shipped)
            else:
                compiler.compile((wanted.requirement(published(wanted, recipes)),))
        except ArtifactNotFound as error:
            return Omission(
                component=component,
                artifact=f"{wanted.origin}:{wanted.name}:{wanted.version}",
                why=error.what,
            )
    return None


def _offer(error: ArtifactNotFound, asked: LockRequest, component: str) -> ArtifactNotFound:
    """Return the error with the way out that this command has."""
    option = f"`mlruntime lock {asked.runtime} --omit-unavailable {component}`"
    return ArtifactNotFound(
        f"{component}: {error.what}",
        where=error.where,
        why=error.why,
        hint=f"{error.hint}; or leave {component} out with {option}",
    )


def _system(asked: LockRequest, archive: Archive) -> tuple[Artifact, ...]:
    for wanted in asked.of("debian"):
        if not archive.has(wanted.name):
            raise _offer(_no_package(wanted), asked, wanted.component)
    names = (w.name for w in asked.of("debian"))
    return archive.closure((*archive.base, *names, *asked.debian))


def _no_package(wanted: Wanted) -> ArtifactNotFound:
    return ArtifactNotFound(
        f"the Debian archive does not have {wanted.name}",
        hint="check its name in matrix.yaml against the Debian release",
    )


def _jars(
    asked: LockRequest,
    repository: Repository,
    shipped: Callable[[], ShippedJars],
    say: Callable[[str], None],
) -> tuple[Artifact, ...]:
    """Return the jars of all components and what they need, together: one of each."""
    every = []
    for wanted in asked.of("maven"):
        every.append((wanted.name, wanted.version))
        try:
            repository.closure(every[-1:], shipped)
        except ArtifactNotFound as error:
            raise _offer(error, asked, wanted.component) from None
    found = repository.closure(every, shipped)
    for conflict in found.conflicts:
        say(f"Maven: {conflict}")
    return found.artifacts


def _shipped(
    asked: LockRequest,
    recipes: Mapping[str, LoadedRecipe],
    compiler: Compiler,
    registries: Registries,
) -> ShippedJars:
    """Return the jars that the runtime's own source distributions bring: Spark's."""
    found: list[ShippedJar] = []
    for wanted in asked.of("pypi"):
        if wanted.name not in recipes:
            continue
        version = published(wanted, recipes)
        alone = Static(name=wanted.name, version=version, requires=())
        for sdist in compiler.compile((f"{wanted.name}=={version}",), static=(alone,)):
            found += registries.shipped(sdist)
    return ShippedJars(found)


def _build_depends(
    system: tuple[Artifact, ...], recipes: Iterable[LoadedRecipe], archive: Archive
) -> tuple[Artifact, ...]:
    """Return what the recipes' compilers bring on top of the system, which stays as it is."""
    names = {name for loaded in recipes for name in loaded.recipe.build_depends}
    if not names:
        return ()
    there = {artifact.sha256 for artifact in system}
    both = archive.closure((*(a.name for a in system), *names))
    lost = there - {artifact.sha256 for artifact in both}
    if lost:
        gone = ", ".join(a.name for a in system if a.sha256 in lost)
        raise InvalidDefinition(
            f"the recipes' build-depends would replace packages of the image: {gone}"
        )
    return tuple(a for a in both if a.sha256 not in there)


def _unpacked(
    asked: LockRequest, recipes: Mapping[str, LoadedRecipe], registries: Registries
) -> dict[UnpackedPackage, Artifact]:
    """Return the Debian packages that some variant's build lays out without installing them."""
    wanted = {
        package
        for loaded in recipes.values()
        for variant in asked.variants
        for package in loaded.recipe.of(variant).build_depends_unpacked
    }
    found = {}
    for release, area in sorted({(package.release, package.area) for package in wanted}):
        archive = registries.archive(release, (area,))
        for package in sorted(p.package for p in wanted if (p.release, p.area) == (release, area)):
            key = UnpackedPackage(package=package, release=release, area=area)
            found[key] = archive.package(package)
    return found
