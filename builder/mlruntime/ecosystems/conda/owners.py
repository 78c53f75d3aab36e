"""Whose a file of a conda package is: ``conda-meta`` names them. Core: no I/O."""

import json
import re
from collections.abc import Callable
from typing import Final

from mlruntime.ecosystems.owners import ListedOwners

_NOTE: Final = re.compile(r"(?P<prefix>.+/)?conda-meta/[^/]+\.json")


class CondaOwners(ListedOwners):
    """Conda packages as owners, ``conda:NAME``."""

    def note(self, path: str, text: Callable[[], str]) -> None:
        """Take what is noted of a package that is installed."""
        found = _NOTE.fullmatch(path)
        if found is None:
            return
        note = json.loads(text())
        owner = owner_of(note["name"])
        self._owners[path] = owner
        if licence := note.get("license"):
            self._licences[owner] = (str(licence),)
        for file in note.get("files", ()):
            self._owners.setdefault(f"{found['prefix'] or ''}{file}", owner)


def owner_of(name: str) -> str:
    """Return a package as an owner."""
    return f"conda:{name}"
