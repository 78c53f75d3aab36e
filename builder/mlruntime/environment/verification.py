"""Is an environment still what it was made as? Its files against the list that it was made with."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mlruntime.environment.creation import is_personal
from mlruntime.environment.entries import InstalledEntry, is_untouched, walked
from mlruntime.store.store import file_sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class Differences:
    """Paths in an environment that are not as it was made, each sorted.

    ``added`` are files that no package of the lock brings; bytecode is not among them.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def damaged(self) -> tuple[str, ...]:
        """Return what is not there as it was locked."""
        return tuple(sorted((*self.changed, *self.removed)))


def differences(root: Path, made: Iterable[InstalledEntry], *, quick: bool = False) -> Differences:
    """Compare an environment with the files that it was made with.

    Every file is read, unless ``quick``: then one that has its size and date counts as it was.
    """
    changed, removed, known = [], [], set()
    for entry in made:
        known.add(entry.path)
        try:
            if not _is_same(f"{root}/{entry.path}", entry, quick=quick):
                changed.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            removed.append(entry.path)
    added = (p for p in walked(root) if p not in known and not is_personal(p))
    return Differences(
        added=tuple(sorted(added)), changed=tuple(sorted(changed)), removed=tuple(sorted(removed))
    )


def _is_same(path: str, entry: InstalledEntry, *, quick: bool) -> bool:
    status = os.lstat(path)
    if entry.target or not stat.S_ISREG(status.st_mode):
        return stat.S_ISLNK(status.st_mode) and entry.target == os.readlink(path)  # noqa: PTH115
    if bool(status.st_mode & 0o100) != entry.executable or status.st_size != entry.size:
        return False
    if quick and is_untouched(path, entry):
        return True
    return file_sha256(Path(path)) == entry.sha256
