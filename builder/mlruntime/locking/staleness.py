"""Does a lock still follow from what made it? Only ``input_digests`` reads files."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlruntime.definitions.files import read_bytes, read_text
from mlruntime.ecosystems.native.recipe import parse_recipe
from mlruntime.errors import InvalidLock
from mlruntime.lock.model import Artifact, Lock

INPUTS = {
    "matrix": "matrix.yaml",
    "runtime": "runtime.yaml",
    "images": "a recipe, patch or script under images/",
}


def input_digests(root: Path, runtime: str) -> tuple[tuple[str, str], ...]:
    """Return the digests of everything hand-written that a lock follows from."""
    images = hashlib.sha256()
    for recipe in sorted((root / "images").glob("*/recipe.yaml")):
        shown = recipe.relative_to(root).as_posix()
        files = parse_recipe(read_text(recipe, shown), file=shown).files
        for path in sorted((recipe, *(recipe.parent / name for name in files))):
            if path.is_file():
                name, content = path.relative_to(root / "images").as_posix(), path.read_bytes()
                images.update(f"{name}\0{len(content)}\0".encode() + content)
    yaml = f"runtimes/{runtime}/runtime.yaml"
    return (
        ("matrix", _digest(facts(read_text(root / "matrix.yaml", "matrix.yaml")).encode())),
        ("runtime", _digest(read_bytes(root / yaml, yaml))),
        ("images", f"sha256:{images.hexdigest()}"),
    )


# What a rule says of itself stands on lines of their own, four columns in; there, no component
# has such keys.
_TOLD: Final = re.compile(r"\s*(#.*)?|    (says|evidence|source|date): \S.*")


def facts(text: str) -> str:
    """Return what of ``matrix.yaml`` a lock can depend on, by lines: which is quick.

    Comments go, and what a rule says about how it is known: new evidence for an old rule must
    not make locks stale. What is written in another form than ours stays in.
    """
    return "\n".join(line for line in text.splitlines() if not _TOLD.fullmatch(line))


def stale_inputs(lock: Lock, digests: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return a sentence for each input that has changed since the lock was written."""
    locked = dict(lock.inputs)
    return tuple(
        f"{INPUTS.get(name, name)} has changed since"
        for name, digest in digests
        if locked.get(name) != digest
    )


def refuse_stale(lock: Lock, digests: tuple[tuple[str, str], ...], *, file: str) -> None:
    """Raise ``InvalidLock`` unless the lock follows from these inputs."""
    if changes := stale_inputs(lock, digests):
        raise InvalidLock(
            "the lock is stale",
            where=file,
            why="; ".join(changes),
            hint=f"write it anew with `mlruntime lock {lock.runtime}`",
        )


def stale_versions(lock: Lock, versions: Mapping[str, str]) -> tuple[str, ...]:
    """Return a sentence for each component whose locked version is not the resolved one."""
    locked, omitted = lock.all_components, {o.component for o in lock.omitted}
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
    }
    for variant in lock.variants:
        groups[variant.name] = variant.python
        for wheel in variant.native:
            build = (
                wheel.sdist,
                *wheel.link_against,
                *wheel.requirements,
                *wheel.build_depends_unpacked,
            )
            groups[f"{variant.name}/{wheel.name}"] = build
    return {(where, a.name): a for where, group in groups.items() for a in group}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
