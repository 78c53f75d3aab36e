"""Where an artifact may be had: what an ecosystem tells the downloads."""

from collections.abc import Callable, Mapping
from typing import Protocol

from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources
from mlruntime.lock.model import Artifact


class Locator(Protocol):
    """Knows the addresses of one ecosystem's artifacts on this host. Safe for several threads."""

    @property
    def hint(self) -> str:
        """Return what to try when no address has an artifact."""

    def urls(self, artifact: Artifact) -> tuple[str, ...]:
        """Return the candidates, the likeliest first; none when no registry lists it.

        Raises ``Unavailable`` when no registry is configured, ``HashMismatch`` when each has
        another file by this name.
        """


# By the word that an artifact's ``origin`` starts with.
Locators = Mapping[str, Callable[[Sources, Web], Locator]]
