"""Packages unpacked in the store, each once: what environments are linked from.

A tree is known by its package's sha256 and how it was unpacked. Its files may be hard links of
several environments, so they are read-only; one that was written to all the same has another date,
and its tree is thrown away and unpacked anew.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from mlruntime.documents.reading import canonical_json
from mlruntime.ecosystems.conda.archive import NEW, OLD
from mlruntime.ecosystems.directory import DirectorySink
from mlruntime.ecosystems.place import Place
from mlruntime.ecosystems.registered import ecosystem_of
from mlruntime.environment.entries import InstalledEntry, is_untouched, listed
from mlruntime.environment.glibc import needed_glibc
from mlruntime.errors import Damaged
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store, storage_errors

KIND: Final = "trees"
# How packages are unpacked: raised when the files of a tree change for the same package.
_RECIPE: Final = "1"
_LIST: Final = "files.json"
_FILES: Final = "files"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """An unpacked package: its files below ``root``, and the ``glibc`` that they need."""

    artifact: Artifact
    root: Path
    glibc: str
    entries: tuple[InstalledEntry, ...]


class _List(msgspec.Struct, frozen=True, array_like=True):
    """What the store has beside a tree's files."""

    glibc: str
    entries: tuple[InstalledEntry, ...]


def key(sha256: str, filename: str, place: Place) -> str:
    """Return what the store knows a package's tree by."""
    recipe = [_RECIPE, sha256, filename, place.python, place.jars]
    if filename.endswith((NEW, OLD)):  # its files may hold the path that they are at
        recipe.append(place.conda_prefix)
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()


def kept_tree(store: Store, artifact: Artifact, place: Place) -> Tree | None:
    """Return a package's tree if the store has it whole and as it was unpacked."""
    folder = store.record(KIND, key(artifact.sha256, artifact.filename, place))
    if folder is None:
        return None
    root = folder / _FILES
    try:
        kept = msgspec.json.decode((folder / _LIST).read_bytes(), type=_List)
        whole = all(e.target or is_untouched(f"{root}/{e.path}", e) for e in kept.entries)
    except (OSError, ValueError):
        return None
    if not whole:
        return None
    return Tree(artifact=artifact, root=root, glibc=kept.glibc, entries=kept.entries)


def unpacked(store: Store, artifact: Artifact, path: Path, place: Place) -> Tree:
    """Return a package's tree, unpacked now unless the store has it.

    Raises ``Damaged`` if the package is not the one that was locked any more, ``InvalidLock`` if
    it cannot be installed, ``StorageError`` if there is no space.
    """
    name = key(artifact.sha256, artifact.filename, place)
    with store.lock(f"tree-{name}"):
        found = kept_tree(store, artifact, place)
        if found is not None:
            return found
        if store.discard_rotten(artifact.sha256):
            raise Damaged(
                f"{artifact.filename}: damaged in the store",
                why="the bytes are not those that were put there",
                hint="run it again: what is damaged has been removed, and is fetched anew",
            )
        target = store.record_path(KIND, name)
        _thrown_away(target)
        with store.scratch() as scratch, storage_errors(store.root):
            folder = scratch / "tree"
            (folder / _FILES).mkdir(parents=True)
            with DirectorySink(folder / _FILES) as sink:
                ecosystem_of(artifact).install(sink, place, [(artifact, path)])
            entries = listed(folder / _FILES)
            for entry in entries:
                if not entry.target:
                    mode = 0o555 if entry.executable else 0o444
                    os.chmod(f"{folder}/{_FILES}/{entry.path}", mode)  # noqa: PTH101
            libraries = (folder / _FILES / e.path for e in entries if not e.target)
            glibc = needed_glibc(libraries)
            (folder / _LIST).write_bytes(msgspec.json.encode(_List(glibc, entries)))
            store.adopt_record(folder, KIND, name)
        return Tree(artifact=artifact, root=target / _FILES, glibc=glibc, entries=entries)


def _thrown_away(folder: Path) -> None:
    """Remove a tree that is damaged; environments keep the files that they share with it."""
    shutil.rmtree(folder, ignore_errors=True)
