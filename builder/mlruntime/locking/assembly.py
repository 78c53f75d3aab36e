"""Joins what the ecosystems answer into one lock."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Final, Protocol

from mlruntime.ecosystems.debian import ORIGIN as DEBIAN
from mlruntime.ecosystems.maven import ORIGIN as MAVEN
from mlruntime.ecosystems.maven.shipped import ShippedJar
from mlruntime.ecosystems.model import Reach
from mlruntime.ecosystems.native.inputs import BuildEnvironment, Compiler, LoadedRecipe
from mlruntime.ecosystems.native.recipe import UnpackedPackage
from mlruntime.ecosystems.pypi import ORIGIN as PYPI
from mlruntime.ecosystems.pypi.resolver import Target
from mlruntime.ecosystems.wanted import RequestedArtifact
from mlruntime.errors import ArtifactNotFound, InvalidDefinition
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact
from mlruntime.locking.absences import offer, omissions, refuse_unknown
from mlruntime.locking.channels import NO_CONDA, CondaChannels, CondaSide, conda_side
from mlruntime.locking.jars import JarRepository, find_jars, looked_up, shipped_jars
from mlruntime.locking.others import lookups as lookups_of_others
from mlruntime.locking.others import others
from mlruntime.locking.request import LockRequest
from mlruntime.locking.variants import PythonSide, published, split


class DebianArchive(Protocol):
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


class Registries(Protocol):
    """The ecosystems, wherever they are."""

    def channels(self, names: tuple[str, ...], snapshot: str) -> CondaChannels:
        """Return conda's channels at one moment, the first of them with the highest priority."""

    def archive(self, release: str, areas: tuple[str, ...] = ("main",)) -> DebianArchive:
        """Return a Debian release, or some areas of it (``non-free``)."""

    def compiler(self, target: Target, snapshot: str) -> Compiler:
        """Return the Python resolver for one target and moment."""

    def repository(self) -> JarRepository:
        """Return the Maven repository."""

    def shipped(self, sdist: Artifact) -> tuple[ShippedJar, ...]:
        """Return the jars in a source distribution."""

    def reach(self, snapshot: str) -> Reach:
        """Return how any other ecosystem reaches its own registries."""


def assemble(
    request: LockRequest,
    *,
    inputs: tuple[tuple[str, str], ...],
    recipes: Mapping[str, LoadedRecipe],
    registries: Registries,
    omit: Iterable[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Lock:
    """Ask every ecosystem and return the lock of ``core``; equal answers give an equal lock.

    Of ``request``, the flavours are not looked at: ``locking.flavours`` adds them.

    A component in ``omit`` is left out if, and only if, one of its artifacts is in no registry;
    any other artifact that is not found raises ``ArtifactNotFound``. ``say`` hears what is going
    on, a line at a time.
    """
    refuse_unknown(request, omit)
    tried = tuple(sorted({w.component for w in request.wanted} & set(omit)))
    archive = registries.archive(dict(request.versions)["debian"])
    system = _system(request.without(tried), archive)
    conda = conda_side(request.without(tried), registries, glibc_of(system), say)
    target = target_of(system, conda)
    compiler = registries.compiler(target, request.snapshot)
    repository = registries.repository()
    shipped = cache(
        partial(shipped_jars, request, recipes, compiler, lambda sdist: registries.shipped(sdist))
    )
    lookups: dict[str, Callable[[RequestedArtifact], object]] = {
        DEBIAN: partial(look_up, archive),
        MAVEN: looked_up(repository, shipped),
        PYPI: lambda wanted: compiler.compile((wanted.requirement(published(wanted, recipes)),)),
        **lookups_of_others(request, registries),
    }
    omitted = omissions(request, tried, lookups)
    request = request.without(o.component for o in omitted)
    if len(omitted) < len(tried):
        system = _system(request, archive)
    say(f"Debian: {len(system)} packages")
    used = {w.name: recipes[w.name] for w in request.of(PYPI) if w.name in recipes}
    build_depends = _build_depends(system, used.values(), archive)
    if build_depends:
        say(f"Debian, to compile with: {len(build_depends)} more")
    found = find_jars(request, request.of(MAVEN), repository, shipped)
    for conflict in found.conflicts:
        say(f"Maven: {conflict}")
    jars = found.artifacts
    say(f"Maven: {len(jars)} jars")
    build_environment = build_environment_of(system, build_depends, conda, target)
    side = PythonSide(
        request=request,
        recipes=used,
        compiler=compiler,
        build_environment=build_environment,
        unpacked=_unpacked(request, used, registries),
        conda=conda,
    )
    common, own = split(request, side.variants(say))
    return Lock(
        runtime=request.runtime,
        inputs=inputs,
        snapshot=request.snapshot,
        components=request.common(),
        omitted=omitted,
        os=system,
        build_depends=build_depends,
        python=common,
        jars=jars,
        variants=own,
        conda=conda.common,
        packages=others(request, registries, say),
    )


def build_environment_of(
    system: tuple[Artifact, ...],
    build_depends: tuple[Artifact, ...],
    conda: CondaSide,
    target: Target,
) -> BuildEnvironment:
    """Return what native wheels are built on: the system, and conda's packages if there are any."""
    return BuildEnvironment(
        os=(*system, *(package.artifact for package in conda.common)),
        build_depends=build_depends,
        python="{}.{}".format(*target.minor),
    )


_UPSTREAM: Final = re.compile(r"(?:\d+:)?(\d+)\.(\d+)(?:\.(\d+))?")


def glibc_of(system: Iterable[Artifact]) -> tuple[int, int]:
    """Return the version of Debian's C library, (0, 0) if there is none."""
    for package in system:
        if package.name == "libc6" and (found := _UPSTREAM.match(package.version)):
            return int(found[1]), int(found[2])
    return 0, 0


def target_of(system: Iterable[Artifact], conda: CondaSide = NO_CONDA) -> Target:
    """Return what wheels must fit: Debian's C library, and its Python or conda's."""
    python, system = conda.python, tuple(system)
    for package in () if python else system:
        upstream = _UPSTREAM.match(package.version)
        if upstream and package.name == f"python{upstream[1]}.{upstream[2]}":
            python = "{}.{}.{}".format(*upstream.groups(default="0"))
    glibc = glibc_of(system)
    if not python or not glibc[0]:
        raise InvalidDefinition(
            "the system has no Python interpreter", where="matrix.yaml: components.python.artifacts"
        )
    return Target(python=python, glibc=glibc)


def _system(request: LockRequest, archive: DebianArchive) -> tuple[Artifact, ...]:
    for wanted in request.of(DEBIAN):
        try:
            look_up(archive, wanted)
        except ArtifactNotFound as error:
            raise offer(error, request.runtime, wanted.component) from None
    names = (w.name for w in request.of(DEBIAN))
    return archive.closure((*archive.base, *names, *request.debian))


def look_up(archive: DebianArchive, wanted: RequestedArtifact) -> None:
    """Raise ``ArtifactNotFound`` unless there is such a Debian package."""
    if not archive.has(wanted.name):
        raise ArtifactNotFound(
            f"the Debian archive does not have {wanted.name}",
            hint="check its name in matrix.yaml against the Debian release",
        )


def _build_depends(
    system: tuple[Artifact, ...], recipes: Iterable[LoadedRecipe], archive: DebianArchive
) -> tuple[Artifact, ...]:
    """Return what the recipes' compilers bring on top of the system, which stays as it is."""
    names = {name for loaded in recipes for name in loaded.recipe.build_depends}
    return on_top(system, names, archive, "the recipes' build-depends") if names else ()


def on_top(
    system: tuple[Artifact, ...], names: Iterable[str], archive: DebianArchive, whose: str
) -> tuple[Artifact, ...]:
    """Return what ``names`` bring on top of a system, which stays as it is.

    ``whose`` says in an error whose packages they are.
    """
    there = {artifact.sha256 for artifact in system}
    both = archive.closure((*(a.name for a in system), *names))
    lost = there - {artifact.sha256 for artifact in both}
    if lost:
        gone = ", ".join(a.name for a in system if a.sha256 in lost)
        raise InvalidDefinition(
            f"{whose} would replace packages of the image: {gone}",
            why="they exclude each other, or the archive has newer ones than those that are locked",
            hint="`mlruntime lock` without --keep-core takes the archive's; or ask for others",
        )
    return tuple(a for a in both if a.sha256 not in there)


def _unpacked(
    request: LockRequest, recipes: Mapping[str, LoadedRecipe], registries: Registries
) -> dict[UnpackedPackage, Artifact]:
    """Return the Debian packages that some variant's build lays out without installing them."""
    wanted = {
        package
        for loaded in recipes.values()
        for variant in request.variants
        for package in loaded.recipe.of(variant).build_depends_unpacked
    }
    found = {}
    for release, area in sorted({(package.release, package.area) for package in wanted}):
        archive = registries.archive(release, (area,))
        for package in sorted(p.package for p in wanted if (p.release, p.area) == (release, area)):
            key = UnpackedPackage(package=package, release=release, area=area)
            found[key] = archive.package(package)
    return found
