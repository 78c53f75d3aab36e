"""Whose a file of a Python package is: ``RECORD`` names them. Core: no I/O."""

import csv
import posixpath
import re
from collections.abc import Callable
from typing import Final

from packaging.utils import canonicalize_name

from mlruntime.ecosystems.owners import ListedOwners
from mlruntime.ecosystems.pypi.licences import of_wheel

_DIST_INFO: Final = re.compile(r"(?P<site>.*)/(?P<name>[^/]+)-[^-/]+\.dist-info/(RECORD|METADATA)")


class PypiOwners(ListedOwners):
    """Python packages as owners, ``pypi:NAME``."""

    def note(self, path: str, text: Callable[[], str]) -> None:
        """Take what a package's ``RECORD`` or ``METADATA`` says."""
        found = _DIST_INFO.fullmatch(path)
        if found is None:
            return
        owner = owner_of(found["name"])
        self._owners[path] = owner
        if path.endswith("METADATA"):
            if licences := of_wheel(text()):
                self._licences[owner] = licences
            return
        for row in csv.reader(text().split("\n")):
            if row:
                file = posixpath.normpath(posixpath.join(found["site"], row[0]))
                self._owners[file.lstrip("/")] = owner


def owner_of(name: str) -> str:
    """Return a package as an owner."""
    return f"pypi:{canonicalize_name(name)}"
