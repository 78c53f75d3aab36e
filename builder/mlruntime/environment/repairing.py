"""Putting an environment right again, and removing one."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mlruntime.environment.creation import (
    Order,
    beside,
    make_folders,
    pieces,
    put,
    write_personal,
)
from mlruntime.environment.description import FILES, read_files, write_description
from mlruntime.environment.entries import encoded
from mlruntime.environment.linking import Linker
from mlruntime.environment.verification import differences
from mlruntime.errors import UsageError
from mlruntime.store.store import storage_errors

# Where packages put their files. What lies elsewhere is somebody's own.
_PACKAGES: Final = ("bin/", "etc/", "include/", "lib/", "lib64/", "opt/", "share/", "usr/")
_SHOWN: Final = 5


def repair(root: Path, order: Order, damaged: Iterable[str], linker: Linker) -> None:
    """Put these paths back as they were made, and all that is made for place and interpreter.

    What else is in the environment stays. It may be interrupted, and run again.
    """
    wanted = frozenset(damaged)
    found = tuple(pieces(order))
    with storage_errors(root, instead="make it anew elsewhere"), beside(root) as folder:
        for number, piece in enumerate(found):
            if piece.entry.path in wanted:
                new = folder / str(number)
                put(str(new), piece, linker)
                make_folders(root, [piece.entry.path])
                new.replace(root / piece.entry.path)
        list_ = folder / "files.json"
        list_.write_bytes(encoded(sorted((p.entry for p in found), key=lambda e: e.path)))
        list_.replace(root / FILES)
        write_personal(root, root, order.interpreter, order.variables)
        write_description(root, order.description)


def change(root: Path, order: Order, linker: Linker) -> tuple[str, ...]:
    """Make an environment another one in its place; return the paths that are no longer in it.

    What both have stays as it is. Interrupted, it is still the one that it was, with files of the
    other: run it again, or repair it.
    """
    before = {entry.path for entry in read_files(root)}
    listed = [piece.entry for piece in pieces(order)]
    repair(root, order, differences(root, listed, quick=True).damaged, linker)
    gone = tuple(sorted(before - {entry.path for entry in listed}))
    with storage_errors(root, instead="make it anew elsewhere"):
        for path in gone:
            (root / path).unlink(missing_ok=True)
            _remove_empty((root / path).parent, root)
    return gone


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
    with storage_errors(root.parent, instead="remove it as who made it"), beside(root) as folder:
        root.rename(folder / "removed")
