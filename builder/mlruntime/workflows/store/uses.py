"""Which files of the store a lock needs, and which locks are in use."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from mlruntime.build import conflicts
from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.native import build as native
from mlruntime.ecosystems.pypi import bytecode
from mlruntime.environment import trees
from mlruntime.environment.layout import place
from mlruntime.image.image import MANIFESTS, Image
from mlruntime.image.plan import Plan
from mlruntime.image.sources.python import interpreter_digest
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact, NativeWheel
from mlruntime.store.contents import BLOB, USES
from mlruntime.store.store import Store
from mlruntime.workflows.locked import read_lock
from mlruntime.workflows.planning import planned_image

_LAYERS: Final = "layers"


@dataclass(frozen=True, slots=True)
class StoreNeeds:
    """What is needed of a store, as pairs of a kind and a name."""

    names: frozenset[tuple[str, str]]

    def __or__(self, other: "StoreNeeds") -> "StoreNeeds":
        return StoreNeeds(self.names | other.names)

    def __contains__(self, entry: tuple[str, str]) -> bool:
        return entry in self.names


def artifacts_of(lock: Lock, variants: Iterable[str] = ()) -> tuple[Artifact, ...]:
    """Return each registry file that these variants (all, if none is named) need, once."""
    chosen = tuple(variants) or tuple(v.name for v in lock.variants)
    groups: list[tuple[Artifact, ...]] = [lock.build_depends]
    for variant in (lock.variant(name) for name in chosen):
        whole = lock.whole(variant.name)
        groups.append(whole.artifacts)
        for wheel in variant.native:
            groups.append((wheel.sdist, *wheel.link_against, *wheel.requirements))
            groups.append(wheel.build_depends_unpacked)
    found = {artifact.sha256: artifact for artifact in chain.from_iterable(groups)}
    return tuple(found.values())


def native_of(lock: Lock, variants: Iterable[str] = ()) -> tuple[NativeWheel, ...]:
    """Return the wheels that are compiled here for these variants, each once."""
    chosen = tuple(variants) or tuple(v.name for v in lock.variants)
    wheels = {w.key: w for name in chosen for w in lock.variant(name).native}
    return tuple(wheels.values())


def needed_by(store: Store, lock: Lock, plans: Iterable[Plan] = ()) -> StoreNeeds:
    """Return what a lock needs: its artifacts, its compiled wheels, and the layers of its plans."""
    wheels = [a.sha256 for a in artifacts_of(lock)]
    files = {(a.sha256, a.filename) for a in artifacts_of(lock)}
    names: set[tuple[str, str]] = {(BLOB, sha256) for sha256 in wheels}
    for wheel in native_of(lock):
        names.add(("native", native.record_key(wheel)))
        if (built := native.built(store, wheel)) is not None:
            names.add((BLOB, built.sha256))
            wheels.append(built.sha256)
            files.add((built.sha256, built.filename))
    for plan in plans:
        interpreter = interpreter_digest(lock, plan.python)
        names |= {("bytecode", bytecode.key(sha256, interpreter)) for sha256 in wheels}
        where = place(plan.python)
        names |= {(trees.KIND, trees.key(*file, where)) for file in files}
        names |= {(_LAYERS, layer.key) for layer in plan.layers}
        names.add((conflicts.KIND, conflicts.site_key(plan)))
        names |= {(BLOB, digest) for digest in _layer_blobs(store, plan)}
    return StoreNeeds(frozenset(names))


def _layer_blobs(store: Store, plan: Plan) -> Iterator[str]:
    for layer in plan.layers:
        if (record := store.record(_LAYERS, layer.key)) is not None:
            yield _layer_blob(record.read_text(encoding="utf-8"))


def _layer_blob(text: str) -> str:
    try:
        return str(json.loads(text)["digest"]).partition(":")[2]
    except (ValueError, TypeError, KeyError):  # what a crash of the whole machine may leave
        return ""


def remember(store: Store, plan: Plan, lock: Lock, image: Image) -> None:
    """Note what an image was made of: pruning keeps it for a while, for any definitions."""
    needed = needed_by(store, lock, (plan,)) | StoreNeeds(
        frozenset({(MANIFESTS, image.config.digest.partition(":")[2])})
    )
    note: dict[str, Any] = {
        "runtime": plan.runtime,
        "variant": plan.variant,
        "flavour": plan.flavour,
        "lock": lock.digest,
        "needs": sorted([kind, name] for kind, name in needed.names),
    }
    name = f"{plan.runtime}-{plan.variant}-{lock.digest.partition(':')[2][:16]}"
    store.write_record(USES, name, json.dumps(note))


def remembered(store: Store, since: float) -> Iterator[StoreNeeds]:
    """Yield what builds needed that ended after ``since``, in seconds since 1970."""
    for path in sorted((store.root / USES).glob("*")):
        try:
            if path.stat().st_mtime < since:
                continue
            pairs = json.loads(path.read_text(encoding="utf-8"))["needs"]
            names = {(str(kind), str(name)) for kind, name in pairs}
        except (OSError, ValueError, TypeError, KeyError):
            continue
        yield StoreNeeds(frozenset({(USES, path.name), *names}))


def needed_by_definitions(definitions: Definitions, store: Store) -> StoreNeeds:
    """Return what the locks of a folder of definitions need.

    A lock that cannot be read raises ``InvalidLock``: nothing may be removed on a guess.
    """
    needed = StoreNeeds(frozenset())
    for runtime in definitions.runtimes():
        if not definitions.lock_path(runtime).is_file():
            continue
        lock = read_lock(definitions, runtime)
        plans = [planned_image(definitions, lock, variant.name) for variant in lock.variants]
        needed |= needed_by(store, lock, plans)
    return needed
