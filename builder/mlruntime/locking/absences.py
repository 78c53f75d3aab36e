"""What no registry has: components that may be left out, and what to do about the others."""

from collections.abc import Callable, Iterable, Mapping

from mlruntime.ecosystems.wanted import RequestedArtifact
from mlruntime.errors import ArtifactNotFound, UsageError
from mlruntime.lock.packages import Omission
from mlruntime.locking.request import FlavourRequest, LockRequest

Lookups = Mapping[str, Callable[[RequestedArtifact], object]]


def refuse_unknown(request: LockRequest, omit: Iterable[str]) -> None:
    """Raise ``UsageError`` for a component that the runtime does not have, in any flavour."""
    wanted = (*request.wanted, *(w for flavour in request.flavours for w in flavour.wanted))
    known = {w.component for w in wanted}
    for component in sorted(set(omit) - known):
        raise UsageError(
            f"{component!r} is not a component of {request.runtime} with artifacts of its own",
            hint=f"known: {', '.join(sorted(known))}",
        )


def omissions(
    request: LockRequest | FlavourRequest, omit: Iterable[str], lookups: Lookups
) -> tuple[Omission, ...]:
    """Return those of the components in ``omit`` that no registry has, with the reason.

    ``lookups`` raise ``ArtifactNotFound`` for what a registry does not have, by origin. Raises
    ``UsageError`` for a component whose origin has none.
    """
    known = {w.component for w in request.wanted}
    found = (_omission(request, name, lookups) for name in sorted(set(omit) & known))
    return tuple(one for one in found if one is not None)


def _omission(
    request: LockRequest | FlavourRequest, component: str, lookups: Lookups
) -> Omission | None:
    for wanted in request.wanted:
        if wanted.component != component:
            continue
        if wanted.origin not in lookups:
            raise UsageError(
                f"{component} cannot be left out: it comes from {wanted.origin}",
                why="whether its packages are there is known only when all are solved together",
                hint="take it out of `request:` in runtime.yaml",
            )
        try:
            lookups[wanted.origin](wanted)
        except ArtifactNotFound as error:
            return Omission(
                component=component,
                artifact=f"{wanted.origin}:{wanted.name}:{wanted.version}",
                why=error.what,
            )
    return None


def offer(error: ArtifactNotFound, runtime: str, component: str) -> ArtifactNotFound:
    """Return the error with the way out that this command has."""
    option = f"`mlruntime lock {runtime} --omit-unavailable {component}`"
    return ArtifactNotFound(
        f"{component}: {error.what}",
        where=error.where,
        why=error.why,
        hint=f"{error.hint}; or leave {component} out with {option}",
    )
