"""What each flavour of a runtime adds to the lock; what is locked below it never moves."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

from mlruntime.ecosystems.debian import ORIGIN as DEBIAN
from mlruntime.ecosystems.maven import ORIGIN as MAVEN
from mlruntime.ecosystems.maven.shipped import ShippedJars
from mlruntime.ecosystems.native.inputs import Compiler, LoadedRecipe
from mlruntime.ecosystems.pypi import ORIGIN as PYPI
from mlruntime.errors import InvalidLock
from mlruntime.lock.model import Flavour, FlavourVariant, Lock, Variant
from mlruntime.lock.packages import Artifact
from mlruntime.locking.absences import Lookups, omissions, refuse_unknown
from mlruntime.locking.added_jars import jars_of_its_own
from mlruntime.locking.assembly import (
    DebianArchive,
    Registries,
    build_environment_of,
    look_up,
    on_top,
    target_of,
)
from mlruntime.locking.channels import CondaSide
from mlruntime.locking.jars import JarRepository, find_jars, looked_up, shipped_with
from mlruntime.locking.others import refuse_others
from mlruntime.locking.request import FlavourRequest, LockRequest
from mlruntime.locking.staleness import flavour_digest
from mlruntime.locking.variants import PythonSide, declared, refuse_undeclared, split


@dataclass(frozen=True, kw_only=True, slots=True)
class Below:
    """What is locked below a flavour: each variant's wheels and dummy packages, and what all have,
    Debian packages and jars.
    """

    os: tuple[Artifact, ...]
    python: Mapping[str, tuple[Artifact, ...]]
    dummies: Mapping[str, frozenset[str]]
    jars: tuple[Artifact, ...]


def with_flavours(
    base: Lock,
    request: LockRequest,
    *,
    recipes: Mapping[str, LoadedRecipe],
    registries: Registries,
    omit: Iterable[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Lock:
    """Return ``base`` with the flavours of ``request`` that it lacks, each on top of those before.

    Nothing of ``base`` moves: it is the lock of ``core``, or of the first flavours too. A component
    in ``omit`` is left out of its flavour if no registry has it.
    """
    refuse_unknown(request, omit)
    if not request.flavours:
        return base
    for flavour in request.flavours:
        refuse_others(flavour, f"runtimes/{request.runtime}/runtime.yaml: flavours.{flavour.name}")
    sources = _sources(base, registries)
    side = _side_of_core(base, request, recipes, sources.compiler)
    locked, lock = {flavour.name: flavour for flavour in base.flavours}, base
    for wanted in request.flavours:
        found = locked.get(wanted.name)
        if found is None:
            found = _flavour(wanted, lock, side, sources, omit, say)
            lock = replace(lock, flavours=(*lock.flavours, found))
        side = _asking_too(side, wanted.without(o.component for o in found.omitted))
    return lock


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sources:
    """Where the packages of flavours come from; the archive is opened for the first who asks."""

    archive: Callable[[], DebianArchive]
    compiler: Compiler
    repository: JarRepository
    shipped: Callable[[], ShippedJars]

    def lookups(self, flavour: FlavourRequest) -> Lookups:
        """Return what asks for one artifact, by origin."""
        return {
            DEBIAN: lambda wanted: look_up(self.archive(), wanted),
            MAVEN: looked_up(self.repository, self.shipped, flavour.without_jars),
            PYPI: lambda wanted: self.compiler.compile((wanted.requirement(wanted.version),)),
        }


def _sources(base: Lock, registries: Registries) -> _Sources:
    return _Sources(
        archive=cache(lambda: registries.archive(base.component("debian"))),
        compiler=registries.compiler(target_of(base.os, CondaSide.of(base)), base.snapshot),
        repository=registries.repository(),
        shipped=cache(partial(shipped_with, base, registries.shipped)),
    )


def _side_of_core(
    base: Lock, request: LockRequest, recipes: Mapping[str, LoadedRecipe], compiler: Compiler
) -> PythonSide:
    """Return what asks for the Python packages of ``core``; each flavour asks for more."""
    available, conda = request.without(o.component for o in base.omitted), CondaSide.of(base)
    return PythonSide(
        request=available,
        recipes={w.name: recipes[w.name] for w in available.of(PYPI) if w.name in recipes},
        compiler=compiler,
        build_environment=build_environment_of(
            base.os, base.build_depends, conda, target_of(base.os, conda)
        ),
        unpacked={},
        conda=conda,
    )


def _flavour(
    wanted: FlavourRequest,
    lock: Lock,
    side: PythonSide,
    sources: _Sources,
    omit: Iterable[str],
    say: Callable[[str], None],
) -> Flavour:
    """Return what a flavour adds to all that ``lock`` has; ``side`` asks for that alone."""
    omitted = omissions(wanted, omit, sources.lookups(wanted))
    flavour, below = wanted.without(o.component for o in omitted), _below(lock)
    system = _system(flavour, below.os, sources.archive, say)
    listed = jars_of_its_own(lock, flavour, sources.shipped)
    jars = find_jars(
        side.request,
        flavour.of(MAVEN),
        sources.repository,
        sources.shipped,
        below.jars,
        listed,
        flavour.without_jars,
    )
    for conflict in jars.conflicts:
        say(f"Maven, {flavour.name}: {conflict}")
    side = _asking_too(side, flavour)
    variants = (
        _variants(side, lock.variants, below, flavour.name, say)
        if flavour.has_python
        else _nothing(lock.variants)
    )
    common, rest = split(side.request, variants)
    return Flavour(
        name=flavour.name,
        request=flavour_digest(wanted),
        components=wanted.versions,
        omitted=omitted,
        python=common,
        jars=jars.artifacts,
        variants=tuple(
            FlavourVariant(name=v.name, python=v.python, dummy_packages=v.dummy_packages)
            for v in rest
        ),
        requirements=wanted.requirements,
        jar_requirements=wanted.jar_requirements,
        os=system,
    )


def _asking_too(side: PythonSide, flavour: FlavourRequest) -> PythonSide:
    """Return what asks for a flavour besides what is below: what that requires has its say."""
    request = replace(
        side.request,
        wanted=(*side.request.wanted, *flavour.wanted),
        python=(*side.request.python, *flavour.python),
    )
    return replace(side, request=request)


def _below(lock: Lock) -> Below:
    parts = {v.name: lock.whole(v.name) for v in lock.variants}
    return Below(
        os=lock.whole_os,
        python={name: part.python for name, part in parts.items()},
        dummies={name: frozenset(d.name for d in p.dummy_packages) for name, p in parts.items()},
        jars=(*lock.jars, *(jar for flavour in lock.flavours for jar in flavour.jars)),
    )


def _system(
    flavour: FlavourRequest,
    below: tuple[Artifact, ...],
    archive: Callable[[], DebianArchive],
    say: Callable[[str], None],
) -> tuple[Artifact, ...]:
    """Return the Debian packages that a flavour adds; those below it stay as they are."""
    names = (*(wanted.name for wanted in flavour.of(DEBIAN)), *flavour.debian)
    if not names:
        return ()
    added = on_top(below, names, archive(), f"the Debian packages of flavour {flavour.name}")
    say(f"Debian, {flavour.name}: {len(added)} packages more")
    return added


def _nothing(core: tuple[Variant, ...]) -> list[Variant]:
    """Return what a flavour without Python packages adds to each variant."""
    return [
        replace(v, python=(), native=(), dummy_packages=(), components=(), conda=()) for v in core
    ]


def _variants(
    side: PythonSide,
    core: tuple[Variant, ...],
    below: Below,
    flavour: str,
    say: Callable[[str], None],
) -> list[Variant]:
    """Return what the flavour adds to each variant, the common part still in each of them."""
    own = declared(side.request)
    found: list[Variant] = []
    for variant in core:
        first = tuple(a for a in found[0].python if a.name not in own) if found else ()
        held = (*below.python[variant.name], *first)
        answer = side.closure(variant.name, held)
        _refuse_moved(answer.wheels, below.python[variant.name], flavour)
        there = {a.name for a in below.python[variant.name]}
        added = replace(
            variant,
            python=tuple(a for a in answer.wheels if a.name not in there),
            native=(),
            dummy_packages=tuple(
                d for d in answer.dummy_packages if d.name not in below.dummies[variant.name]
            ),
            components=(),
        )
        say(f"Python, {flavour}, {variant.name}: {len(added.python)} wheels more")
        for sentence in side.for_gpus(added, held):
            say(sentence)
        found.append(added)
    refuse_undeclared(found, own)
    return found


def _refuse_moved(found: Iterable[Artifact], below: Iterable[Artifact], flavour: str) -> None:
    """Raise unless what is below is as it was: another file by the same version is a surprise."""
    before = {a.name: a for a in below}
    for artifact in found:
        was = before.get(artifact.name, artifact)
        if was != artifact:
            raise InvalidLock(
                f"flavour {flavour} would replace {was.filename} by {artifact.filename}",
                why="the package index has changed while this was locked",
                hint="lock again",
            )
