"""Jars of a lock: those asked for, and what they need beyond Spark's own."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from mlruntime.ecosystems.maven.conflict import JarConflict
from mlruntime.ecosystems.maven.repository import LockedJars
from mlruntime.ecosystems.maven.shipped import NOTHING, ShippedJar, ShippedJars
from mlruntime.ecosystems.native.inputs import Compiler, LoadedRecipe
from mlruntime.ecosystems.pypi import ORIGIN as PYPI
from mlruntime.ecosystems.pypi.resolver import Static
from mlruntime.ecosystems.wanted import RequestedArtifact
from mlruntime.errors import ArtifactNotFound
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact
from mlruntime.locking.absences import offer
from mlruntime.locking.request import LockRequest
from mlruntime.locking.variants import published


class JarRepository(Protocol):
    """What ``maven.MavenRepository`` does."""

    def closure(
        self,
        wanted: Iterable[tuple[str, str]],
        shipped: Callable[[], ShippedJars],
        scala: str = "",
        *,
        excluding: Mapping[str, Iterable[str]],
    ) -> LockedJars:
        """Return jars and those they need, less what Spark ships, all for one Scala.

        ``excluding`` are exclusions by the name of the jar whose dependencies they are for.
        """


def find_jars(
    request: LockRequest,
    wanted: Iterable[RequestedArtifact],
    repository: JarRepository,
    shipped: Callable[[], ShippedJars],
    before: tuple[Artifact, ...] = (),
    jars: Iterable[str] = (),
    without: Iterable[str] = (),
) -> LockedJars:
    """Return jars and what they need, together: one of each, none that is there ``before``.

    ``jars`` are wanted too (``GROUP:ARTIFACT:VERSION``), and none of all that brings what is to be
    left out, ``without`` (``GROUP:ARTIFACT``). Raises ``JarConflict`` for two files of one name.
    """
    scala, every = request.present.get("scala", ""), list(_listed(jars))
    excluding = {name: tuple(without) for name, _ in every}
    components: list[tuple[str, str]] = []
    for one in wanted:
        components.append((one.name, one.version))
        excluding[one.name] = (*one.excludes, *without)
        try:
            repository.closure(components[-1:], shipped, excluding=excluding)
        except ArtifactNotFound as error:
            raise offer(error, request.runtime, one.component) from None
    listed = bool(every)
    every = [*sorted(components), *every]
    found = repository.closure(
        every,
        lambda: shipped().beside(before) if before else shipped(),
        scala,
        excluding=excluding,
    )
    # What components consist of says by itself that it goes with Spark.
    _refuse_clashes(found.artifacts, (shipped() if listed else NOTHING).beside(before))
    return found


def _listed(jars: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in jars:
        group, artifact, version, *classifier = text.split(":")
        yield ":".join((group, artifact, *classifier)), version


def looked_up(
    repository: JarRepository, shipped: Callable[[], ShippedJars], without: Iterable[str] = ()
) -> Callable[[RequestedArtifact], object]:
    """Return what asks a repository for one jar and those it needs, as ``find_jars`` does."""
    return lambda wanted: repository.closure(
        ((wanted.name, wanted.version),),
        shipped,
        excluding={wanted.name: (*wanted.excludes, *without)},
    )


def _refuse_clashes(jars: Iterable[Artifact], there: ShippedJars) -> None:
    """Raise for a jar whose file would take another one's place: they are in one directory."""
    files: dict[str, str] = {}
    for jar in jars:
        own = there.file(jar.filename)
        other = files.get(jar.filename, own and f"{own.group or 'another'}:{own.artifact} of Spark")
        if other is not None:
            raise JarConflict(
                f"{jar.name} and {other} have files of the same name, {jar.filename}",
                why="all jars are in one directory",
                hint="leave one of them out",
            )
        files[jar.filename] = jar.name


def shipped_jars(
    request: LockRequest,
    recipes: Mapping[str, LoadedRecipe],
    compiler: Compiler,
    read: Callable[[Artifact], tuple[ShippedJar, ...]],
) -> ShippedJars:
    """Return the jars that the runtime's own source distributions bring: Spark's.

    ``read`` returns those in one.
    """
    found: list[ShippedJar] = []
    for wanted in request.of(PYPI):
        if wanted.name not in recipes:
            continue
        version = published(wanted, recipes)
        alone = Static(name=wanted.name, version=version, requires=())
        for sdist in compiler.compile((f"{wanted.name}=={version}",), static=(alone,)):
            found += read(sdist)
    return ShippedJars(found)


def shipped_with(lock: Lock, read: Callable[[Artifact], tuple[ShippedJar, ...]]) -> ShippedJars:
    """Return the jars that a locked runtime's source distributions bring, as ``shipped_jars``."""
    sdists = {native.sdist for variant in lock.variants for native in variant.native}
    in_order = sorted(sdists, key=lambda sdist: sdist.filename)
    return ShippedJars(jar for sdist in in_order for jar in read(sdist))
