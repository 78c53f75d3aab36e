"""Whose a file of a Debian package is: dpkg's lists name them. Core: no I/O."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from debian.deb822 import Deb822

from mlruntime.ecosystems.debian.licences import of_copyright
from mlruntime.ecosystems.owners import Owners

_LIST: Final = re.compile(r"var/lib/dpkg/info/([^/:]+)(:[a-z0-9]+)?\.list")
_OWN: Final = re.compile(r"var/lib/dpkg/info/([^/:]+)(:[a-z0-9]+)?\.[a-z0-9.-]+")
_COPYRIGHT: Final = re.compile(r"usr/share/doc/([^/]+)/copyright")
_STATUS: Final = "var/lib/dpkg/status"


class DebianOwners(Owners):
    """Debian packages as owners, ``deb:NAME``."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._licences: dict[str, tuple[str, ...]] = {}
        self._copyrights: set[str] = set()
        self._sources: dict[str, str] = {}
        self._versions: dict[str, str] = {}

    def note(self, path: str, text: Callable[[], str]) -> None:
        """Take what dpkg lists, which sources packages are from, and copyright files."""
        if found := _LIST.fullmatch(path):
            for line in text().splitlines():
                self._owners.setdefault(_merged(line.lstrip("/")), owner_of(found[1]))
        elif path == _STATUS:
            for paragraph in Deb822.iter_paragraphs(text(), use_apt_pkg=False):
                package = paragraph.get("Package", "")
                source, _, version = paragraph.get("Source", package).partition(" ")
                self._sources[package] = source
                # A binary package may have a version of its own: Source: NAME (VERSION).
                self._versions[package] = version.strip("() ") or paragraph.get("Version", "")
        elif found := _COPYRIGHT.fullmatch(path):
            self._copyrights.add(found[1])
            if licences := of_copyright(text()):
                self._licences[owner_of(found[1])] = licences

    def owner(self, path: str) -> str | None:
        """Return whose a file is; dpkg's own database, which we write as dpkg does, is dpkg's."""
        if found := self._owners.get(_merged(path)):
            return found
        if own := _OWN.fullmatch(path):
            return owner_of(own[1])
        return owner_of("dpkg") if path.startswith("var/lib/dpkg/") else None

    @property
    def licences(self) -> Mapping[str, tuple[str, ...]]:
        """Return the licences of each package, or of another one of the same source.

        The directory of a package that keeps no copyright file is a link to that of another of the
        same source (Debian Policy, 12.5), and images do not have these links.
        """
        by_source: dict[str, tuple[str, ...]] = {}
        for name in sorted(self._copyrights):
            licences = self._licences.get(owner_of(name), ())
            by_source.setdefault(self._sources.get(name, name), licences)
        return self._licences | {
            owner_of(name): by_source[source]
            for name, source in self._sources.items()
            if name not in self._copyrights and by_source.get(source)
        }

    @property
    def sources(self) -> Mapping[str, tuple[str, str]]:
        """Return the source package of each package that dpkg knows."""
        return {
            owner_of(name): (source, self._versions[name]) for name, source in self._sources.items()
        }


def owner_of(name: str) -> str:
    """Return a package as an owner."""
    return f"deb:{name}"


def _merged(path: str) -> str:
    """Return a path as it is where ``/bin``, ``/lib`` and ``/sbin`` are links into ``/usr``."""
    top = path.partition("/")[0]
    return f"usr/{path}" if top in ("bin", "lib", "lib32", "lib64", "libx32", "sbin") else path
