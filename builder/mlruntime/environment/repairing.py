"""Putting an environment right again, and removing one."""

from collections.abc import Iterable
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Final

from msgspec import structs

from mlruntime.environment.creation import (
    Order,
    beside,
    make_folders,
    pieces,
    put,
    write_personal,
)
from mlruntime.environment.description import FILES, LOCK, read_files, write_description
from mlruntime.environment.entries import InstalledEntry, encoded
from mlruntime.environment.linking import Linker
from mlruntime.environment.verification import differences
from mlruntime.errors import InvalidLock, UsageError
from mlruntime.store.store import storage_errors

# Where packages put their files. What lies elsewhere is somebody's own.
_PACKAGES: Final = ("bin/", "etc/", "include/", "lib/", "lib64/", "opt/", "share/", "usr/")
_SHOWN: Final = 5


def repair(root: Path, order: Order, damaged: Iterable[str], linker: Linker) -> tuple[str, ...]:
    """Put these paths as the order has them; return the paths that are no longer in it.

    What else is in the environment stays. The caller holds the environment (`using`). Interrupted,
    nothing is lost: until the end, the list has all files of before and after, and another lock
    than is there, so that it is seen (`verification`). Run it again, for this order or another.
    """
    before = _listed_before(root)
    found = tuple(pieces(order))
    after = {piece.entry.path: piece.entry for piece in found}
    wanted = frozenset((*damaged, LOCK))
    gone = tuple(sorted(before.keys() - after.keys()))
    with storage_errors(root, instead="make it anew elsewhere"), beside(root) as folder:
        # All that takes space comes first: a full disk changes nothing.
        new = {}
        for number, piece in enumerate(found):
            if piece.entry.path in wanted:
                new[piece.entry.path] = folder / str(number)
                put(f"{folder}/{number}", piece, linker)
        # Any order puts anew what is just being replaced: it may be the one file or the other.
        unsure = {path: structs.replace(after[path], size=-1, sha256="") for path in new}
        _write_list(root, (after | before | unsure | {LOCK: after[LOCK]}).values(), folder)
        for path in gone:
            _remove_file(root, path)
        locked = new.pop(LOCK)
        make_folders(root, new)
        for path, file in new.items():
            file.replace(root / path)
        write_personal(root, root, order.interpreter, order.variables)
        write_description(root, order.description)
        locked.replace(root / LOCK)
        _write_list(root, after.values(), folder)
    return gone


def change(root: Path, order: Order, linker: Linker) -> tuple[str, ...]:
    """Make an environment another one in its place; return the paths that are no longer in it.

    What both have stays as it is. Interrupted, it is neither: run it again, or repair it.
    """
    before = _listed_before(root)
    listed = [piece.entry for piece in pieces(order)]
    # Files of two versions may have one size, and all have one date.
    others = {entry.path for entry in listed if before.get(entry.path) != entry}
    damaged = others.union(differences(root, listed, quick=True).damaged)
    return repair(root, order, damaged, linker)


def _listed_before(root: Path) -> dict[str, InstalledEntry]:
    """Return the list of an environment's files, empty if it cannot be read: it is made anew."""
    try:
        return {entry.path: entry for entry in read_files(root)}
    except InvalidLock:
        return {}


def _write_list(root: Path, entries: Iterable[InstalledEntry], folder: Path) -> None:
    new = folder / "files.json"
    new.write_bytes(encoded(sorted(entries, key=lambda entry: entry.path)))
    new.replace(root / FILES)


def _remove_file(root: Path, path: str) -> None:
    """Remove a file, its bytecode, and directories that are empty then.

    Else Python would import what is left of a package as a namespace.
    """
    file = root / path
    with suppress(IsADirectoryError, NotADirectoryError):  # what came in its place is there already
        file.unlink(missing_ok=True)
    if file.suffix == ".py":
        for compiled in (file.parent / "__pycache__").glob(f"{escape(file.stem)}.*.pyc"):
            compiled.unlink(missing_ok=True)
        _remove_empty(file.parent / "__pycache__", root)
    _remove_empty(file.parent, root)


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove a directory that nothing is in, and those above it below ``root``."""
    while folder != root and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def remove(root: Path, added: Iterable[str], *, force: bool = False) -> None:
    """Remove an environment in one step, its files after that.

    Raises ``UsageError`` if there are files of somebody's own among what was ``added``, unless
    ``force``.
    """
    own = [path for path in added if not path.startswith(_PACKAGES)]
    if own and not force:
        more = f" and {len(own) - _SHOWN} more" if len(own) > _SHOWN else ""
        raise UsageError(
            f"files that no package brought are in it: {', '.join(own[:_SHOWN])}{more}",
            where=str(root),
            hint="move them, or remove it all with --force",
        )
    if root.is_symlink():
        raise UsageError(
            "this is a link to an environment",
            where=str(root),
            hint=f"remove {root.resolve()}, and then the link",
        )
    with storage_errors(root.parent, instead="remove it as who made it"), beside(root) as folder:
        root.rename(folder / "removed")
