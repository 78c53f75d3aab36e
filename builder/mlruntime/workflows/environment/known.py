"""Which environments there are on this host: notes in the store, of where they were made."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from mlruntime.environment.description import Description, is_environment, read_description
from mlruntime.errors import MlruntimeError
from mlruntime.store.store import Store, storage_errors
from mlruntime.workflows.host import Host

# Not among what pruning removes.
_KNOWN: Final = "environments"


def remember_environment(host: Host, root: Path) -> None:
    """Note where an environment is. It is in its place already: a failure is only told."""
    try:
        host.store.write_record(_KNOWN, _key(root), f"{root}\n")
    except (MlruntimeError, OSError) as problem:
        why = getattr(problem, "why", None) or str(problem)
        host.say(f"`mlruntime env list` will not show {root}: the store takes no note ({why})")


def _key(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root)).hexdigest()


def known_environments(store: Store) -> tuple[Path, ...]:
    """Return the environments of this host, sorted, also those that cannot be reached now.

    Forgotten is what is gone from a directory that is still there; an environment that was moved
    is known again once it has been repaired.
    """
    found = []
    for note in sorted((store.root / _KNOWN).glob("*")):
        with suppress(FileNotFoundError):
            root = Path(os.fsdecode(note.read_bytes().removesuffix(b"\n")))
            if is_environment(root) or not _is_gone(root):
                found.append(root)
            else:
                with suppress(OSError):
                    note.unlink()
    return tuple(sorted(found))


def forget_environment(store: Store, root: Path) -> bool:
    """Forget where an environment was; return whether it was known."""
    note = store.record(_KNOWN, _key(root))
    if note is not None:
        with storage_errors(store.root):
            note.unlink(missing_ok=True)
    return note is not None


def described(roots: tuple[Path, ...]) -> Iterator[tuple[Path, Description | None, str]]:
    """Yield each environment with its description, or ``None`` and why there is none."""
    for root in roots:
        try:
            yield root, read_description(root), ""
        except MlruntimeError as problem:
            yield root, None, problem.what if is_environment(root) else "it cannot be reached now"


def _is_gone(root: Path) -> bool:
    """Tell whether an environment was removed or moved, not only unmounted with its directory."""
    for folder in (root, root.parent):  # a mount point without its disk is empty
        with suppress(OSError):
            return any(folder.iterdir())
    return False
