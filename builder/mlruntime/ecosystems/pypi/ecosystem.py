"""Python packages as an ecosystem."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlruntime.ecosystems.place import Place
from mlruntime.ecosystems.pypi import ORIGIN
from mlruntime.ecosystems.pypi.locator import PypiLocator
from mlruntime.ecosystems.pypi.site import Site
from mlruntime.ecosystems.pypi.upstream import PypiUpstream
from mlruntime.ecosystems.pypi.wheel import install_wheel
from mlruntime.host.settings import Sources
from mlruntime.layers.sink import Sink
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


class Pypi:
    """Wheels, installed into an environment."""

    origin: Final = ORIGIN

    def locator(self, sources: Sources, web: "Web") -> PypiLocator:
        """Return what asks this host's package indexes."""
        return PypiLocator(sources, web)

    def upstream(self, sources: Sources, web: "Web", scratch: Path) -> PypiUpstream:
        """Return what asks them for releases."""
        del scratch
        return PypiUpstream(sources, web)

    def install(self, sink: Sink, place: Place, artifacts: Iterable[tuple[Artifact, Path]]) -> None:
        """Install wheels as pip would, without bytecode."""
        site = Site(place)
        for artifact, path in artifacts:
            install_wheel(sink, path, artifact.filename, site)
