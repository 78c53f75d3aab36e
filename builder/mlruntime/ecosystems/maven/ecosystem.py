"""Jars as an ecosystem."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlruntime.ecosystems.maven import ORIGIN
from mlruntime.ecosystems.maven.locator import MavenLocator
from mlruntime.ecosystems.maven.upstream import MavenUpstream
from mlruntime.ecosystems.place import Place
from mlruntime.errors import InvalidLock
from mlruntime.host.settings import Sources
from mlruntime.layers.paths import UnsafePath
from mlruntime.layers.sink import Sink
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


class Maven:
    """Jars, put beside Spark's own."""

    origin: Final = ORIGIN

    def locator(self, sources: Sources, web: "Web") -> MavenLocator:
        """Return what knows the layout of this host's repository."""
        return MavenLocator(sources, web)

    def upstream(self, sources: Sources, web: "Web", scratch: Path) -> MavenUpstream:
        """Return what reads the repository's metadata."""
        del scratch
        return MavenUpstream(sources, web)

    def install(self, sink: Sink, place: Place, artifacts: Iterable[tuple[Artifact, Path]]) -> None:
        """Copy jars into the directory that the place has for them."""
        for artifact, path in artifacts:
            try:
                with path.open("rb") as content:
                    sink.file(f"{place.jars}/{artifact.filename}", content, artifact.size)
            except (UnsafePath, FileExistsError) as error:
                raise InvalidLock(
                    f"{artifact.filename} cannot be put beside Spark's jars", why=str(error)
                ) from None
