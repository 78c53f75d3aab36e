"""The packages of ecosystems that stand alone: what is locked of them depends on no other."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Protocol

from mlruntime.ecosystems.model import Ecosystem, Reach
from mlruntime.ecosystems.registered import ECOSYSTEMS
from mlruntime.ecosystems.wanted import RequestedArtifact
from mlruntime.errors import InvalidDefinition
from mlruntime.lock.packages import Artifact
from mlruntime.locking.request import FlavourRequest, LockRequest
from mlruntime.matrix.origins import ORIGINS


class HasReach(Protocol):
    """Who knows how this host reaches registries."""

    def reach(self, snapshot: str) -> Reach:
        """Return how, for what was there at one moment."""


def others(
    request: LockRequest, registries: HasReach, say: Callable[[str], None]
) -> tuple[Artifact, ...]:
    """Return all that a runtime has of these ecosystems, which every variant has.

    Raises ``InvalidDefinition`` for what is asked for in some variants only.
    """
    found: list[Artifact] = []
    for ecosystem, wanted in _wanted(request):
        for one in wanted:
            if not set(one.variants) >= set(request.variants):
                raise InvalidDefinition(
                    f"{one.component} has {ecosystem.origin} packages in some variants only",
                    where="matrix.yaml: components.….artifacts",
                    why="a lock has these for all variants together",
                    hint="leave out `variants` of the artifact",
                )
        packages = ecosystem.lock(wanted, registries.reach(request.snapshot))
        say(f"{ecosystem.origin}: {len(packages)} packages")
        found += packages
    return tuple(found)


def lookups(
    request: LockRequest, registries: HasReach
) -> Mapping[str, Callable[[RequestedArtifact], object]]:
    """Return what asks for one artifact, by origin."""
    return {
        ecosystem.origin: partial(_look_up, ecosystem, registries, request.snapshot)
        for ecosystem, _ in _wanted(request)
    }


def refuse_others(flavour: FlavourRequest, where: str) -> None:
    """Raise ``InvalidDefinition`` for what a flavour asks of these ecosystems."""
    for ecosystem, wanted in _wanted(flavour):
        raise InvalidDefinition(
            f"{wanted[0].component} has {ecosystem.origin} packages, which a flavour cannot add",
            where=where,
            hint="ask for it under `request:` of the runtime itself",
        )


def _wanted(
    request: LockRequest | FlavourRequest,
) -> Iterator[tuple[Ecosystem, tuple[RequestedArtifact, ...]]]:
    for origin, ecosystem in ECOSYSTEMS.items():
        wanted = () if ORIGINS[origin].joined else request.of(origin)
        if wanted:
            yield ecosystem, wanted


def _look_up(
    ecosystem: Ecosystem, registries: HasReach, snapshot: str, wanted: RequestedArtifact
) -> object:
    return ecosystem.lock((wanted,), registries.reach(snapshot))
