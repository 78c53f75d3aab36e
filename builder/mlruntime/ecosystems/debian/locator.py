"""Where a Debian package is: in the pool of an archive of this host."""

from typing import TYPE_CHECKING, Final

from mlruntime.errors import Unavailable
from mlruntime.host.settings import DEBIAN_HINT, Sources
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


class DebianLocator:
    """Knows the pools; an artifact's origin is ``debian:SUITE:pool/…``."""

    hint: Final = (
        "the archive has moved on to a newer version: lock again with `mlruntime lock`, or set"
        " MLRUNTIME_DEBIAN_SNAPSHOT to a snapshot of the archive from the time of the lock"
    )

    def __init__(self, sources: Sources, web: "Web") -> None:
        del web
        self._sources = sources

    def urls(self, artifact: Artifact) -> tuple[str, ...]:
        """Return the file's address in each archive that has the suite."""
        _, suite, pool = artifact.origin.split(":", 2)
        uris = self._sources.debian_uris(suite)
        if not uris:
            raise Unavailable("no Debian archive is configured on this host", hint=DEBIAN_HINT)
        return tuple(f"{uri}/{pool}" for uri in uris)
