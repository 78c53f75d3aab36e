"""What has rotted in the store: looked for, removed, and told by its name."""

from collections.abc import Iterable, Mapping

from mlruntime.ecosystems.pypi import bytecode
from mlruntime.errors import CommandFailed, Damaged, HashMismatch, Unavailable
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store


def refuse_damaged(store: Store, artifacts: Iterable[Artifact]) -> None:
    """Raise ``Damaged`` if any of these has rotted: for what is read without noticing."""
    _refuse([artifact.filename for artifact in artifacts if store.discard_rotten(artifact.sha256)])


def blame_damage(
    error: Exception, store: Store, names: Mapping[str, str], interpreter: str
) -> None:
    """Raise ``Damaged`` if what failed was made from a file that has rotted.

    Whatever reads such a file says something else about it: a decompressor, a compiler.
    ``names`` are the files by sha256; the bytecode that wheels among them have for this
    ``interpreter`` is looked at, too. An error that is surely not about them costs no time.
    """
    if isinstance(error, HashMismatch | Unavailable) and not isinstance(error, CommandFailed):
        return
    found = [name for sha256, name in names.items() if store.discard_rotten(sha256)]
    for sha256, name in names.items():
        if bytecode.discard_rotten(store, sha256, interpreter):
            found.append(f"the bytecode of {name}")
    _refuse(found)


def _refuse(names: list[str]) -> None:
    if names:
        raise Damaged(
            f"{', '.join(names)}: damaged in the store",
            why="the bytes are not those that were put there",
            hint="build again: what is damaged has been removed, and is fetched or compiled anew",
        )
