"""Whose a jar is: it says nothing of itself that can be relied on, so its file name tells."""

from collections.abc import Callable, Mapping

from mlruntime.ecosystems.owners import Owners


class JarOwners(Owners):
    """Jars as owners, ``jar:FILE``."""

    def note(self, path: str, text: Callable[[], str]) -> None:
        """Take nothing: jars are not looked into."""
        del path, text

    def owner(self, path: str) -> str | None:
        """Return the jar itself."""
        return owner_of(path.rpartition("/")[2])

    @property
    def licences(self) -> Mapping[str, tuple[str, ...]]:
        """Return nothing."""
        return {}


def owner_of(name: str) -> str:
    """Return a jar as an owner."""
    return f"jar:{name}"
