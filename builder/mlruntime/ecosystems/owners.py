"""Whose the files of an image or an environment are: what the packages in it say themselves."""

import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol

_BYTECODE: Final = re.compile(r"(.*/)__pycache__/([^/]+)\.cpython-\d+(\.opt-\d)?\.pyc")


class Owners(Protocol):
    """Knows whose the files are that one ecosystem's packages bring.

    First ``note`` is called for every file, then ``owner``. Owners are ``ECOSYSTEM:NAME``.
    """

    def note(self, path: str, text: Callable[[], str]) -> None:
        """Take what a file says of others; ``path`` is below the root, ``text`` reads it."""

    def owner(self, path: str) -> str | None:
        """Return whose a file is, ``None`` if no package says that it is its own."""

    @property
    def licences(self) -> Mapping[str, tuple[str, ...]]:
        """Return what packages say of their licences, by owner, without those that say nothing."""

    @property
    def sources(self) -> Mapping[str, tuple[str, str]]:
        """Return (name, version) of the source that a package is made from, by owner.

        Those that have the same name and version as their source may lack.
        """
        return {}


def module_of(path: str) -> str:
    """Return the module that a file is the bytecode of, or the path itself."""
    found = _BYTECODE.fullmatch(path)
    return f"{found[1]}{found[2]}.py" if found else path


class ListedOwners(Owners):
    """Owners whose packages list their own files. Bytecode that is not listed is its module's."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._licences: dict[str, tuple[str, ...]] = {}

    def owner(self, path: str) -> str | None:
        """Return whose a file is."""
        return self._owners.get(path) or self._owners.get(module_of(path))

    @property
    def licences(self) -> Mapping[str, tuple[str, ...]]:
        """Return what packages say."""
        return self._licences
