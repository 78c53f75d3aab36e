"""Jars of a lock: those asked for, and what they need beyond Spark's own."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from mlruntime.ecosystems.maven import ORIGIN as MAVEN
from mlruntime.ecosystems.maven.repository import LockedJars
from mlruntime.ecosystems.maven.shipped import ShippedJar, ShippedJars
from mlruntime.ecosystems.native.inputs import Compiler, LoadedRecipe
from mlruntime.ecosystems.pypi import ORIGIN as PYPI
from mlruntime.ecosystems.pypi.resolver import Static
from mlruntime.errors import ArtifactNotFound
from mlruntime.lock.packages import Artifact
from mlruntime.locking.absences import offer
from mlruntime.locking.request import LockRequest, Wanted
from mlruntime.locking.variants import published


class Repository(Protocol):
    """What ``maven.Repository`` does."""

    def closure(
        self, wanted: Iterable[tuple[str, str]], shipped: Callable[[], ShippedJars]
    ) -> LockedJars:
        """Return jars and those they need, less what Spark ships."""


def find_jars(
    request: LockRequest,
    wanted: Iterable[Wanted],
    repository: Repository,
    shipped: Callable[[], ShippedJars],
    before: tuple[Artifact, ...] = (),
) -> LockedJars:
    """Return jars and what they need, together: one of each, none that is there ``before``."""
    every: list[tuple[str, str]] = []
    for one in wanted:
        if one.origin != MAVEN:
            continue
        every.append((one.name, one.version))
        try:
            repository.closure(every[-1:], shipped)
        except ArtifactNotFound as error:
            raise offer(error, request.runtime, one.component) from None
    return repository.closure(every, lambda: shipped().beside(before) if before else shipped())


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
