"""What changes between two locked images: components, packages, layers, bytes. Core: no I/O."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, Literal

from mlruntime.documents.reading import did_you_mean
from mlruntime.errors import UsageError
from mlruntime.image.plan import Plan
from mlruntime.image.sources.model import PlannedLayer
from mlruntime.layers.gzipped import LayerBlob
from mlruntime.lock.model import CORE, Lock, tag
from mlruntime.lock.packages import Artifact
from mlruntime.matrix.model import VARIANTS

Kind = Literal["added", "removed", "changed", "remade"]
DEFAULT_VARIANT: Final = "cpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """What one side of a comparison is called: ``WHAT[@REVISION][:VARIANT[-FLAVOUR]]``."""

    what: str
    revision: str | None
    variant: str
    flavour: str = CORE

    @property
    def text(self) -> str:
        """Return the name in full, the variant included."""
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.what}{at}:{tag(self.variant, self.flavour)}"


def parse_named(text: str) -> Named:
    """Read ``RUNTIME``, ``RUNTIME:VARIANT[-FLAVOUR]``, ``RUNTIME@REVISION`` or a path.

    Anything else is a ``UsageError``; the flavours there are, only the lock knows.

    A colon separates a variant: one that nobody knows is refused rather than taken for a part
    of a name.
    """
    rest, colon, tagged = text.rpartition(":")
    variant, _, flavour = tagged.partition("-")
    if not colon:
        rest, variant, flavour = text, DEFAULT_VARIANT, CORE
    elif variant not in VARIANTS:
        raise UsageError(f"{text!r}: no variant {variant!r}", hint=did_you_mean(variant, VARIANTS))
    what, at, revision = rest.partition("@")
    if not what or (at and not revision):
        raise UsageError(f"{text!r} names no runtime", hint="RUNTIME[@REVISION][:VARIANT]")
    return Named(what=what, revision=revision or None, variant=variant, flavour=flavour or CORE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One image of a comparison; ``blobs`` are those of its layers, by key, that were built."""

    name: str
    lock: Lock
    plan: Plan
    blobs: Mapping[str, LayerBlob]


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing that differs; ``a`` and ``b`` are versions, ``None`` where it is absent.

    ``remade`` has the same version on both sides and other bytes.
    """

    name: str
    kind: Kind
    a: str | None
    b: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """The packages of one ecosystem that differ, by name, and how many do not."""

    changed: tuple[Change, ...]
    same: int

    def count(self, kind: Kind) -> int:
        """Return how many changed in this way."""
        return sum(change.kind == kind for change in self.changed)


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerState:
    """A layer of one side: its key, and its blob if the store has it."""

    key: str
    blob: LayerBlob | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerChange:
    """A layer by name. ``shared``: whoever has image A has the bytes of B's layer already."""

    name: str
    a: LayerState | None
    b: LayerState | None
    shared: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Pull:
    """What a machine that has A transfers to get B.

    ``size`` is the sum of the compressed layers in ``layers`` whose size is known; those in
    ``unknown`` have not been built here and are not in the sum.
    """

    size: int
    layers: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """All that changes from image A to image B."""

    a: Side
    b: Side
    components: Changes
    packages: Mapping[str, Changes]
    layers: tuple[LayerChange, ...]

    @property
    def pull(self) -> Pull:
        """Return what is transferred by a client that knows layers by their digests.

        So do containerd (Kubernetes, Docker's containerd image store), Podman and registries.
        """
        return _pull(change for change in self.layers if not change.shared)

    @property
    def classic_pull(self) -> Pull:
        """Return what Docker's classic image store transfers.

        It knows a layer only together with all that are below it, so what follows the first layer
        that differs is pulled, whether A has it or not.
        """
        pairs = zip(self.a.plan.layers, self.b.plan.layers, strict=False)
        same = takewhile(lambda pair: _same_bytes(_state(self.a, pair[0]), _state(self.b, pair[1])),
                         pairs)  # fmt: skip
        below = {layer.name for _, layer in same}
        return _pull(change for change in self.layers if change.name not in below)


def _pull(changes: Iterable[LayerChange]) -> Pull:
    needed = [(change.name, change.b) for change in changes if change.b is not None]
    return Pull(
        size=sum(state.blob.size for _, state in needed if state.blob),
        layers=tuple(name for name, _ in needed),
        unknown=tuple(name for name, state in needed if not state.blob),
    )


def _same_bytes(a: LayerState, b: LayerState) -> bool:
    built = a.blob is not None and b.blob is not None
    return a.key == b.key or (built and a.blob == b.blob)


def difference(a: Side, b: Side) -> Difference:
    """Compare two images, each known by its lock and its plan."""
    return Difference(
        a=a,
        b=b,
        components=changes(
            components_of(a.lock, a.plan.variant), components_of(b.lock, b.plan.variant)
        ),
        packages=package_changes(
            packages_of(a.lock, a.plan.variant), packages_of(b.lock, b.plan.variant)
        ),
        layers=_layers(a, b),
    )


# Each of these maps a name to (version, what identifies the bytes).
Versions = Mapping[str, tuple[str, str]]


def components_of(lock: Lock, variant: str) -> dict[str, tuple[str, str]]:
    """Return the components that the image of a variant has."""
    absent = {omission.component for omission in lock.all_omitted}
    return {name: (v, v) for name, v in lock.components_of(variant) if name not in absent}


def _artifacts(artifacts: Iterable[Artifact]) -> dict[str, tuple[str, str]]:
    return {a.name: (a.version, a.sha256) for a in artifacts}


def _python(lock: Lock, variant: str) -> dict[str, tuple[str, str]]:
    """Return what ``pip list`` shows but for what is compiled here, dummy packages included."""
    whole = lock.whole(variant)
    standing = {one.name: (one.version, f"stands in: {one.by}") for one in whole.dummy_packages}
    return _artifacts(whole.python) | standing


def _native(lock: Lock, variant: str) -> dict[str, tuple[str, str]]:
    return {n.name: (n.version, n.key) for n in lock.variant(variant).native}


_Told = Mapping[str, Callable[[Lock, str], dict[str, tuple[str, str]]]]
_PACKAGES: Final[_Told] = {
    "debian": lambda lock, variant: _artifacts(lock.whole(variant).os),
    "python": _python,
    "native": _native,
    "jars": lambda lock, variant: _artifacts(lock.whole(variant).jars),
}
# Most runtimes have none of these: nothing is said where nobody has any.
_RARE: Final[_Told] = {
    "conda": lambda lock, variant: _artifacts(p.artifact for p in lock.whole(variant).conda),
}


def packages_of(lock: Lock, variant: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Return the packages that the image of a variant has, by ecosystem."""
    told = {**_PACKAGES, **_RARE}
    found = {name: packages(lock, variant) for name, packages in told.items()}
    for one in lock.whole(variant).packages:
        found.setdefault(one.origin.partition(":")[0], {}).update(_artifacts((one,)))
    return found


def package_changes(a: Mapping[str, Versions], b: Mapping[str, Versions]) -> dict[str, Changes]:
    """Compare packages by ecosystem."""
    names = dict.fromkeys((*_PACKAGES, *_RARE, *a, *b))
    every = {name: (a.get(name, {}), b.get(name, {})) for name in names}
    return {
        name: changes(before, after)
        for name, (before, after) in every.items()
        if name in _PACKAGES or before or after
    }


def changes(a: Versions, b: Versions) -> Changes:
    """Compare what has names and versions."""
    changed = []
    for name in sorted(a.keys() | b.keys()):
        before, after = a.get(name), b.get(name)
        if before == after:
            continue
        kind: Kind = "changed"
        if before is None or after is None:
            kind = "added" if before is None else "removed"
        elif before[0] == after[0]:
            kind = "remade"
        changed.append(Change(name=name, kind=kind, a=before and before[0], b=after and after[0]))
    return Changes(changed=tuple(changed), same=len(a.keys() | b.keys()) - len(changed))


def _layers(a: Side, b: Side) -> tuple[LayerChange, ...]:
    """Compare layers by name; whether B's bytes are there already is a matter of keys and digests.

    Equal keys are equal bytes, whatever the layers are called. Different keys may have the same
    bytes: that is known once both have been built.
    """
    before, after = _states(a), _states(b)
    keys = {state.key for state in before.values()}
    digests = {state.blob.digest for state in before.values() if state.blob}
    found = []
    for name in (*after, *(name for name in before if name not in after)):
        state = after.get(name)
        same = state is not None and (
            state.key in keys or (state.blob is not None and state.blob.digest in digests)
        )
        found.append(LayerChange(name=name, a=before.get(name), b=state, shared=same))
    return tuple(found)


def _states(side: Side) -> dict[str, LayerState]:
    return {layer.name: _state(side, layer) for layer in side.plan.layers}


def _state(side: Side, layer: PlannedLayer) -> LayerState:
    return LayerState(key=layer.key, blob=side.blobs.get(layer.key))
