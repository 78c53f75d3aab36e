"""What a store holds: listed, compared with its names, and removed."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlruntime.store.store import Store, file_sha256

BLOB: Final = "blobs"
PARTIAL: Final = "partial"
USES: Final = "uses"
CLASS_DATA: Final = "class-data"
# Records that can be made anew from blobs; each is a file, or a folder, named after its key.
RECORDS: Final = ("bytecode", CLASS_DATA, "layers", "manifests", "native", "sites", "trees", USES)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreEntry:
    """One thing in the store: a blob, an unfinished download, or a record. ``size`` in bytes."""

    kind: str
    name: str
    size: int
    path: Path


def is_sha256(text: str) -> bool:
    """Tell whether a text is a sha256 in hex, as blobs are named."""
    return _SHA256.fullmatch(text) is not None


def entries(store: Store) -> Iterator[StoreEntry]:
    """Yield everything in the store, by kind and name. Entries removed meanwhile are left out."""
    folders = {BLOB: store.root / "blobs" / "sha256", PARTIAL: store.root / PARTIAL}
    folders |= {kind: store.root / kind for kind in RECORDS}
    for kind, folder in sorted(folders.items()):
        for path in sorted(folder.glob("*")):
            try:
                yield StoreEntry(kind=kind, name=path.name, size=_size(path), path=path)
            except FileNotFoundError:
                continue


def _size(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        return sum(p.lstat().st_size for p in path.rglob("*") if not p.is_dir())
    return path.lstat().st_size


def is_damaged(entry: StoreEntry) -> bool:
    """Tell whether a blob's bytes are not what its name says."""
    if not is_sha256(entry.name) or entry.path.is_symlink() or not entry.path.is_file():
        return True
    return file_sha256(entry.path) != entry.name


def remove(entry: StoreEntry) -> None:
    """Remove one entry; one that is gone already is no error."""
    if entry.path.is_dir() and not entry.path.is_symlink():
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        entry.path.unlink(missing_ok=True)
