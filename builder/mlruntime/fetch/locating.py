"""Where an artifact may be had: what an ecosystem tells the downloads."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from mlruntime.errors import ArtifactNotFound
from mlruntime.host.settings import Sources
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


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
Locators = Mapping[str, "Callable[[Sources, Web], Locator]"]


@contextmanager
def last_seen(lock: Lock) -> Iterator[None]:
    """Let the error about a file that is gone say when it was last there: when it was locked."""
    try:
        yield
    except ArtifactNotFound as error:
        raise ArtifactNotFound(
            error.what,
            where=error.where,
            why=f"it was there when {lock.runtime} was locked, on {lock.snapshot[:10]} or later,"
            " and has been removed since; or this host asks another registry",
            hint=error.hint,
        ) from None
