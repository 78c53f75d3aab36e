"""Conda packages as an ecosystem."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlruntime.ecosystems.conda import ORIGIN
from mlruntime.ecosystems.conda.locator import CondaLocator
from mlruntime.ecosystems.conda.upstream import CondaUpstream
from mlruntime.ecosystems.place import Place
from mlruntime.host.settings import Sources
from mlruntime.layers.sink import Sink
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


class Conda:
    """Packages of conda's channels, unpacked into one prefix."""

    origin: Final = ORIGIN

    def locator(self, sources: Sources, web: "Web") -> CondaLocator:
        """Return what knows the channels' layout."""
        return CondaLocator(sources, web)

    def upstream(self, sources: Sources, web: "Web", scratch: Path) -> CondaUpstream:
        """Return what would ask channels for releases."""
        del sources, web, scratch
        return CondaUpstream()

    def install(self, sink: Sink, place: Place, artifacts: Iterable[tuple[Artifact, Path]]) -> None:
        """Unpack packages into the place's conda prefix, without bytecode, running nothing."""
        # Imported late: planning installs nothing.
        from mlruntime.ecosystems.conda.install import Prefix

        prefix = Prefix(sink, place)
        for artifact, path in artifacts:
            prefix.install(artifact, path)
