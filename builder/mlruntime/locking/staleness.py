"""Does a lock still follow from what made it? Core: no I/O."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from mlruntime.documents.reading import canonical_json
from mlruntime.ecosystems.native.inputs import LoadedRecipe
from mlruntime.errors import InvalidLock
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact
from mlruntime.locking.request import FlavourRequest, LockRequest

_REQUEST = "what runtime.yaml and matrix.yaml ask for has changed since"
_RECIPES = "a recipe, patch or script under images/ has changed since"


def input_digests(
    request: LockRequest, recipes: Mapping[str, LoadedRecipe]
) -> tuple[tuple[str, str], ...]:
    """Return the digests of everything hand-written that a lock follows from.

    Of ``matrix.yaml``, only the *result* of resolving counts: another release, rule or comment
    does not make a lock stale unless the runtime then asks for something else.
    """
    return (("request", _digest(asdict(request.core))), ("recipes", recipes_digest(recipes)))


def flavour_digest(flavour: FlavourRequest) -> str:
    """Return the digest of what a flavour asks for beyond those before it."""
    return _digest(asdict(flavour))


def recipes_digest(recipes: Mapping[str, LoadedRecipe]) -> str:
    """Return the digest of what recipes say, and of the files they use."""
    return _digest({name: asdict(recipe) for name, recipe in recipes.items()})


def _digest(value: Any) -> str:
    return f"sha256:{hashlib.sha256(canonical_json(_said(value)).encode()).hexdigest()}"


def _said(value: Any) -> Any:
    """Return a value less what it leaves empty: a field more must not make locks stale."""
    if isinstance(value, Mapping):
        return {key: _said(inner) for key, inner in value.items() if inner not in ((), "", None)}
    return [_said(inner) for inner in value] if isinstance(value, tuple) else value


def stale_inputs(lock: Lock, digests: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return a sentence for each input that has changed since the lock was written."""
    locked, said = dict(lock.inputs), {"request": _REQUEST, "recipes": _RECIPES}
    return tuple(said[name] for name, digest in digests if locked.get(name) != digest)


def stale(lock: Lock, request: LockRequest, recipes: Mapping[str, LoadedRecipe]) -> tuple[str, ...]:
    """Return a sentence for each reason why a lock does not follow from its inputs any more."""
    versions = stale_versions(lock, request.present)
    inputs = (
        *stale_inputs(lock, input_digests(request, recipes)),
        *stale_flavours(lock, request.flavours),
    )
    # If a version is named, the general sentence is not needed.
    return (*versions, *(said for said in inputs if said != _REQUEST or not versions))


def stale_flavours(lock: Lock, flavours: tuple[FlavourRequest, ...]) -> tuple[str, ...]:
    """Return a sentence for each flavour that is not what is asked for now, in that order."""
    locked = {flavour.name: flavour.request for flavour in lock.flavours}
    requested = {flavour.name: flavour_digest(flavour) for flavour in flavours}
    said = [
        f"flavour {name} is locked, but not asked for any more"
        for name in locked.keys() - requested
    ]
    for name, digest in requested.items():
        if name not in locked:
            said.append(f"flavour {name} is asked for, but not locked")
        elif locked[name] != digest:
            said.append(f"what flavour {name} asks for has changed since")
    if not said and list(locked) != list(requested):
        said.append("the flavours are in another order now")
    return tuple(sorted(said))


def refuse_stale(
    lock: Lock, request: LockRequest, recipes: Mapping[str, LoadedRecipe], *, file: str
) -> None:
    """Raise ``InvalidLock`` unless the lock follows from these inputs."""
    if changes := stale(lock, request, recipes):
        raise InvalidLock(
            "the lock is stale",
            where=file,
            why="; ".join(changes),
            hint=f"run `mlruntime lock {lock.runtime}`",
        )


def stale_versions(lock: Lock, versions: Mapping[str, str]) -> tuple[str, ...]:
    """Return a sentence for each component whose locked version is not the resolved one."""
    locked, omitted = lock.all_components, {o.component for o in lock.all_omitted}
    said = []
    for name in sorted(locked.keys() | versions.keys()):
        if name in omitted:
            continue
        if name not in versions:
            said.append(f"{name} {locked[name]} locked, but not asked for any more")
        elif name not in locked:
            said.append(f"{name} {versions[name]} resolved, but not locked")
        elif locked[name] != versions[name]:
            said.append(f"{name} {locked[name]} locked, {versions[name]} resolved")
    return tuple(said)


def stale_artifacts(lock: Lock, fresh: Lock) -> tuple[str, ...]:
    """Return a sentence for each file that the registries would have locked differently now."""
    old, new = _files(lock), _files(fresh)
    said = []
    for key in sorted(old.keys() | new.keys()):
        where, name = key
        if key not in new:
            said.append(f"{where}: {name} {old[key].version} locked, not needed any more")
        elif key not in old:
            said.append(f"{where}: {name} {new[key].version} needed, not locked")
        elif old[key].version != new[key].version:
            said.append(f"{where}: {name} {old[key].version} locked, {new[key].version} to be had")
        elif old[key].sha256 != new[key].sha256:
            said.append(f"{where}: {name} {old[key].version} has another file now")
    return tuple(said)


def _files(lock: Lock) -> dict[tuple[str, str], Artifact]:
    groups: dict[str, tuple[Artifact, ...]] = {
        "os": lock.os,
        "build-depends": lock.build_depends,
        "python": lock.python,
        "jars": lock.jars,
        "conda": tuple(package.artifact for package in lock.conda),
        "packages": lock.packages,
    }
    for variant in lock.variants:
        groups[variant.name] = variant.python
        groups[f"{variant.name}/conda"] = tuple(package.artifact for package in variant.conda)
        for wheel in variant.native:
            build = (
                wheel.sdist,
                *wheel.link_against,
                *wheel.requirements,
                *wheel.build_depends_unpacked,
            )
            groups[f"{variant.name}/{wheel.name}"] = build
    for flavour in lock.flavours:
        groups[flavour.name] = (*flavour.os, *flavour.python, *flavour.jars)
        groups |= {f"{flavour.name}/{v.name}": v.python for v in flavour.variants}
    return {(where, a.name): a for where, group in groups.items() for a in group}
