"""Maintaining the store: its size, damaged files, and what can be removed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_

from mlruntime.definitions.files import Definitions
from mlruntime.store.contents import BLOB, PARTIAL, StoreEntry, entries, is_damaged, remove
from mlruntime.store.store import Store
from mlruntime.workflows.store.uses import StoreNeeds, needed_by_definitions, remembered

DAY_SECONDS = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """How many entries of a kind there are, and their bytes."""

    kind: str
    count: int
    size: int


def weigh(found: Iterable[StoreEntry]) -> tuple[Weight, ...]:
    """Return the weight of each kind that occurs."""
    counted: dict[str, tuple[int, int]] = {}
    for entry in found:
        count, size = counted.get(entry.kind, (0, 0))
        counted[entry.kind] = count + 1, size + entry.size
    return tuple(
        Weight(kind=kind, count=count, size=size) for kind, (count, size) in counted.items()
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """The result of checking every blob; the damaged ones were removed."""

    count: int
    size: int
    damaged: tuple[StoreEntry, ...]


def verify(store: Store, say: Callable[[str], None]) -> Checked:
    """Read every blob; remove those whose bytes are not what their name says.

    They are fetched or built again when they are needed.
    """
    blobs = [entry for entry in entries(store) if entry.kind == BLOB]
    damaged = []
    for number, entry in enumerate(blobs, start=1):
        if number % 100 == 0:
            say(f"{number} of {len(blobs)} files read")
        if is_damaged(entry):
            say(f"damaged, removed: {entry.path}")
            remove(entry)
            damaged.append(entry)
    return Checked(
        count=len(blobs), size=sum(entry.size for entry in blobs), damaged=tuple(damaged)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """What was removed, or would be, and what stays."""

    removed: tuple[StoreEntry, ...]
    kept: tuple[StoreEntry, ...]


def prune(
    definitions: Definitions, store: Store, *, now: float, days: float, dry_run: bool
) -> Pruned:
    """Remove what neither a lock of these definitions nor a build of the last ``days`` needs.

    Unfinished downloads go as well. Raises ``InvalidLock`` when a lock of the definitions cannot
    be read, and ``Unavailable`` while another process uses the store; nothing is removed then.
    """
    with store.alone():
        recent = remembered(store, now - days * DAY_SECONDS)
        needed: StoreNeeds = reduce(or_, recent, needed_by_definitions(definitions, store))
        removed: list[StoreEntry] = []
        kept: list[StoreEntry] = []
        for entry in entries(store):
            stays = entry.kind != PARTIAL and (entry.kind, entry.name) in needed
            (kept if stays else removed).append(entry)
        if not dry_run:
            for entry in removed:
                remove(entry)
    return Pruned(removed=tuple(removed), kept=tuple(kept))
