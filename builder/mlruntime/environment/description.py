"""What an environment says of itself, in files of its own."""

from pathlib import Path
from typing import Final

import msgspec

from mlruntime.definitions.files import read_text
from mlruntime.environment.entries import InstalledEntry, decoded
from mlruntime.environment.layout import NOTES
from mlruntime.environment.settings import Variables
from mlruntime.errors import InvalidLock, UsageError
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
from mlruntime.store.store import storage_errors

FORMAT: Final = 1
_DESCRIPTION: Final = f"{NOTES}/environment.json"
FILES: Final = f"{NOTES}/files.json"
LOCK: Final = f"{NOTES}/lock.json"


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An environment: which runtime, from which lock and plan, for which interpreter and place.

    ``path`` is where it was made, and ``made`` how many of its files in which way; ``glibc`` the
    oldest that it runs with. ``variables`` are set, ``folders`` come before what a variable has.
    """

    format: int
    runtime: str
    variant: str
    lock: str
    plan: str
    python: str
    interpreter: str
    path: str
    glibc: str
    made: dict[str, int]
    variables: dict[str, str]
    folders: dict[str, list[str]]

    def settings(self, root: Path) -> Variables:
        """Return the variables of the environment at ``root``."""
        return self.relative.at(root)

    @property
    def relative(self) -> Variables:
        """Return the variables wherever the environment is."""
        folders = {name: tuple(parts) for name, parts in self.folders.items()}
        return Variables(set=self.variables, extended=folders)

    @property
    def minor(self) -> str:
        """Return the minor version of its Python ("3.11")."""
        return ".".join(self.python.split(".")[:2])


def is_environment(path: Path) -> bool:
    """Return whether there is an environment at a path."""
    try:
        return (path / _DESCRIPTION).is_file()
    except OSError:  # a directory that this user may not look into
        return False


def read_description(path: Path) -> Description:
    """Return what an environment says of itself; ``UsageError`` when there is none at ``path``."""
    if not is_environment(path):
        raise UsageError(
            "there is no environment here",
            where=str(path),
            hint="make one with `mlruntime env create RUNTIME PATH`",
        )
    try:
        found = msgspec.json.decode((path / _DESCRIPTION).read_bytes(), type=Description)
    except (ValueError, OSError) as problem:
        raise InvalidLock(
            "the environment's description cannot be read",
            where=f"{path}/{_DESCRIPTION}",
            why=str(problem),
            hint="remove the environment and make it anew",
        ) from None
    if found.format != FORMAT:
        raise InvalidLock(
            f"the environment has format {found.format}; this mlruntime knows {FORMAT}",
            where=str(path),
            hint="make it anew with `mlruntime env create`",
        )
    return found


def read_lock_of(path: Path) -> Lock:
    """Return the lock that an environment was made from."""
    file = f"{path}/{LOCK}"
    return parse_lock(read_text(path / LOCK, file, InvalidLock), file=file)


def write_description(path: Path, description: Description) -> None:
    """Write or replace an environment's description in one step."""
    target = path / _DESCRIPTION
    with storage_errors(path):
        new = target.with_suffix(".new")
        new.write_bytes(msgspec.json.format(msgspec.json.encode(description), indent=1) + b"\n")
        new.replace(target)


def read_files(path: Path) -> tuple[InstalledEntry, ...]:
    """Return the files that an environment was made with."""
    try:
        return decoded((path / FILES).read_bytes())
    except (ValueError, OSError) as problem:
        raise InvalidLock(
            "the list of the environment's files cannot be read",
            where=f"{path}/{FILES}",
            why=str(problem),
            hint="`mlruntime env repair` writes it anew",
        ) from None
