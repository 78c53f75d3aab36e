"""Joins what the ecosystems answer into one lock."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from packaging.utils import canonicalize_name

from builder.errors import ArtifactNotFound, InvalidDefinition, UsageError
from builder.lock import Artifact, Lock, NativeWheel, Omission, StandIn, Variant
from builder.locking.native import Bench, Compiler, LoadedRecipe, native_wheel
from builder.locking.pypi import Static, Target
from builder.matrix import ORIGINS, VARIANTS, Matrix
from builder.resolve import Resolution, artifact_names
from builder.runtime import RuntimeDefinition


class Archive(Protocol):
    """What ``debian.Archive`` does."""

    @property
    def base(self) -> tuple[str, ...]:
        """Return the names every system has."""

    def has(self, name: str) -> bool:
        """Return whether there is a package of this name."""

    def closure(self, names: Iterable[str]) -> tuple[Artifact, ...]:
        """Return what an installation of ``names`` brings, sorted by name."""


class Repository(Protocol):
    """What ``maven.Repository`` does."""

    def closure(self, name: str, version: str) -> tuple[Artifact, ...]:
        """Return a jar and those it needs."""


class Registries(Protocol):
    """The three ecosystems, wherever they are."""

    def archive(self, release: str) -> Archive:
        """Return a Debian release."""

    def compiler(self, target: Target, snapshot: str) -> Compiler:
        """Return the Python resolver for one target and moment."""

    def repository(self) -> Repository:
        """Return the Maven repository."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """One artifact that a component consists of, in some variants.

    ``provides`` are the packages that it is under another name.
    """

    component: str
    origin: str
    name: str
    version: str
    variants: tuple[str, ...]
    provides: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A runtime whose versions are chosen: what the ecosystems are asked for."""

    runtime: str
    snapshot: str
    variants: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    wanted: tuple[Wanted, ...]
    python: tuple[str, ...]
    debian: tuple[str, ...]

    def of(self, origin: str, variant: str | None = None) -> tuple[Wanted, ...]:
        """Return the artifacts of one origin, in one variant or in any."""
        return tuple(
            w for w in self.wanted if w.origin == origin and (not variant or variant in w.variants)
        )

    def without(self, components: Iterable[str]) -> "Asked":
        """Return the same runtime less some components."""
        gone = set(components)
        return replace(
            self,
            versions=tuple((name, v) for name, v in self.versions if name not in gone),
            wanted=tuple(w for w in self.wanted if w.component not in gone),
        )


def ask(matrix: Matrix, definition: RuntimeDefinition, resolution: Resolution) -> Asked:
    """Return what has to be locked for a resolved runtime."""
    variants: dict[tuple[str, str, str, str], list[str]] = {}
    for variant in VARIANTS:
        for origin in ORIGINS:
            for component, name, version in artifact_names(matrix, resolution, origin, variant):
                name = canonicalize_name(name) if origin == "pypi" else name
                variants.setdefault((component, origin, name, version), []).append(variant)
    wanted = (
        Wanted(
            component=c,
            origin=o,
            name=n,
            version=v,
            variants=tuple(found),
            provides=_provides(matrix, c, o, n),
        )
        for (c, o, n, v), found in variants.items()
    )
    return Asked(
        runtime=definition.runtime,
        snapshot=definition.snapshot,
        variants=definition.variants,
        versions=tuple(sorted((name, str(v)) for name, v in resolution.versions)),
        wanted=tuple(w for w in wanted if set(w.variants) & set(definition.variants)),
        python=tuple(str(requirement) for requirement in definition.python),
        debian=definition.debian,
    )


def _provides(matrix: Matrix, component: str, origin: str, name: str) -> tuple[str, ...]:
    if origin != "pypi":
        return ()
    return tuple(
        canonicalize_name(other)
        for template in matrix.components[component].artifacts
        if canonicalize_name(template.name) == name
        for other in template.provides
    )


def assemble(
    asked: Asked,
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
    omitted = [
        found
        for component in tried
        if (found := _omission(asked, component, recipes, archive, compiler, repository))
    ]
    asked = asked.without(o.component for o in omitted)
    if len(omitted) < len(tried):
        system = _system(asked, archive)
    say(f"Debian: {len(system)} packages")
    used = {w.name: recipes[w.name] for w in asked.of("pypi") if w.name in recipes}
    toolchain = _toolchain(system, used.values(), archive)
    if toolchain:
        say(f"Debian, to compile with: {len(toolchain)} more")
    jars = _jars(asked, repository)
    say(f"Maven: {len(jars)} jars")
    bench = Bench(os=system, toolchain=toolchain, python="{}.{}".format(*target.minor))
    variants = []
    for name in asked.variants:
        variants.append(_variant(name, asked, used, compiler, bench))
        count, native = len(variants[-1].python), len(variants[-1].native)
        say(f"Python, {name}: {count} wheels, {native} more to be built here")
    common, own = _split(asked, variants)
    return Lock(
        runtime=asked.runtime,
        inputs=inputs,
        snapshot=asked.snapshot,
        components=asked.versions,
        omitted=tuple(omitted),
        os=system,
        toolchain=toolchain,
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


def _tried(asked: Asked, omit: Iterable[str]) -> tuple[str, ...]:
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
    asked: Asked,
    component: str,
    recipes: Mapping[str, LoadedRecipe],
    archive: Archive,
    compiler: Compiler,
    repository: Repository,
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
                repository.closure(wanted.name, wanted.version)
            else:
                compiler.compile((f"{wanted.name}=={_published(wanted, recipes)}",))
        except ArtifactNotFound as error:
            return Omission(
                component=component,
                artifact=f"{wanted.origin}:{wanted.name}:{wanted.version}",
                why=error.what,
            )
    return None


def _offer(error: ArtifactNotFound, asked: Asked, component: str) -> ArtifactNotFound:
    """Return the error with the way out that this command has."""
    option = f"`mlruntime lock {asked.runtime} --omit-unavailable {component}`"
    return ArtifactNotFound(
        f"{component}: {error.what}",
        where=error.where,
        why=error.why,
        hint=f"{error.hint}; or leave {component} out with {option}",
    )


def _system(asked: Asked, archive: Archive) -> tuple[Artifact, ...]:
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


def _jars(asked: Asked, repository: Repository) -> tuple[Artifact, ...]:
    found: dict[str, Artifact] = {}
    for wanted in asked.of("maven"):
        try:
            found |= {a.name: a for a in repository.closure(wanted.name, wanted.version)}
        except ArtifactNotFound as error:
            raise _offer(error, asked, wanted.component) from None
    return tuple(sorted(found.values(), key=lambda a: a.name))


def _toolchain(
    system: tuple[Artifact, ...], recipes: Iterable[LoadedRecipe], archive: Archive
) -> tuple[Artifact, ...]:
    """Return what the recipes' compilers bring on top of the system, which stays as it is."""
    names = {name for loaded in recipes for name in loaded.recipe.toolchain}
    if not names:
        return ()
    there = {artifact.sha256 for artifact in system}
    both = archive.closure((*(a.name for a in system), *names))
    lost = there - {artifact.sha256 for artifact in both}
    if lost:
        gone = ", ".join(a.name for a in system if a.sha256 in lost)
        raise InvalidDefinition(
            f"the recipes' toolchain would replace packages of the image: {gone}"
        )
    return tuple(a for a in both if a.sha256 not in there)


def _variant(
    name: str,
    asked: Asked,
    recipes: Mapping[str, LoadedRecipe],
    compiler: Compiler,
    bench: Bench,
) -> Variant:
    """Return one variant with all its wheels, the common ones still among them.

    A package that another one stands for is resolved like any, so that what requires it has a say
    in its version, with nothing but that other one as its requirement; then it is left out.
    """
    wanted = asked.of("pypi", name)
    # What a registry is asked for: a patched release is not there, its sdist is.
    published = {w.name: _published(w, recipes) for w in wanted}
    provided = {
        other: StandIn(name=other, version=w.version, by=w.name)
        for w in wanted
        for other in w.provides
    }
    requirements = (*(f"{name}=={version}" for name, version in published.items()), *asked.python)
    static = [
        Static(name=name, version=version, requires=recipes[name].recipe.requires(version))
        for name, version in published.items()
        if name in recipes
    ]
    static += [
        Static(name=s.name, version=s.version, requires=(f"{s.by}=={s.version}",), built=False)
        for s in provided.values()
    ]
    limits = tuple(f"{s.name}=={s.version}" for s in provided.values())
    found = compiler.compile(requirements, static=tuple(static), constraints=limits)
    packages = tuple(a for a in found if a.kind == "wheel" and a.name not in provided)
    against = {w.component: w.name for w in wanted}
    versions = {w.name: w.version for w in wanted}
    native: list[NativeWheel] = []
    for sdist in (a for a in found if a.kind == "sdist"):
        native.append(
            native_wheel(
                recipes[sdist.name],
                versions[sdist.name],
                sdist,
                packages=packages,
                against=against,
                compiler=compiler,
                bench=bench,
            )
        )
    stand_ins = tuple(provided[a.name] for a in found if a.name in provided)
    return Variant(name=name, python=packages, native=tuple(native), stand_ins=stand_ins)


def _published(wanted: Wanted, recipes: Mapping[str, LoadedRecipe]) -> str:
    loaded = recipes.get(wanted.name)
    return loaded.recipe.release(wanted.version).of if loaded else wanted.version


def _split(
    asked: Asked, variants: list[Variant]
) -> tuple[tuple[Artifact, ...], tuple[Variant, ...]]:
    """Return the wheels that every variant has, and the variants with the rest.

    What the matrix declares for some variants only is never common, even when just one variant
    is locked: locking another later must not move it.
    """
    special = {w.name for w in asked.of("pypi") if set(w.variants) != set(VARIANTS)}
    shared = set.intersection(*({a.sha256 for a in v.python} for v in variants))
    common = tuple(a for a in variants[0].python if a.sha256 in shared and a.name not in special)
    taken = {a.sha256 for a in common}
    own = tuple(
        replace(v, python=tuple(a for a in v.python if a.sha256 not in taken)) for v in variants
    )
    return common, own
