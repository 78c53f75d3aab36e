"""Debian packages as an ecosystem."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlruntime.ecosystems.debian import ORIGIN
from mlruntime.ecosystems.debian.locator import DebianLocator
from mlruntime.ecosystems.debian.packages import unpack
from mlruntime.ecosystems.debian.upstream import DebianUpstream
from mlruntime.ecosystems.place import Place
from mlruntime.host.settings import Sources
from mlruntime.layers.sink import Sink
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


class Debian:
    """Packages of the image's system, unpacked below the sink's root."""

    origin: Final = ORIGIN

    def locator(self, sources: Sources, web: "Web") -> DebianLocator:
        """Return what knows the pools of this host's archives."""
        return DebianLocator(sources, web)

    def upstream(self, sources: Sources, web: "Web", scratch: Path) -> DebianUpstream:
        """Return what reads Debian's releases."""
        del web
        return DebianUpstream(sources, scratch)

    def install(self, sink: Sink, place: Place, artifacts: Iterable[tuple[Artifact, Path]]) -> None:
        """Unpack packages as dpkg would, wherever the place is: they say themselves."""
        del place
        unpack(sink, artifacts)
