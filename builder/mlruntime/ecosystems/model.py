"""What an ecosystem is: where its packages are found and released, and how they are installed."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from packaging.version import InvalidVersion, Version

from mlruntime.ecosystems.place import Place
from mlruntime.fetch.locating import Locator
from mlruntime.host.settings import Sources
from mlruntime.layers.sink import Sink
from mlruntime.lock.packages import Artifact
from mlruntime.matrix.model import ArtifactTemplate, Component, Matrix
from mlruntime.matrix.news import Release

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


class Upstream(Protocol):
    """Says what an ecosystem's registries have released."""

    def releases(
        self, matrix: Matrix, component: Component, artifact: ArtifactTemplate
    ) -> tuple[Release, ...]:
        """Return the releases of a component that one of its artifacts has.

        Raises ``Unavailable`` when no registry has any.
        """


class Ecosystem(Protocol):
    """One kind of packages. Each is a folder here, and one line in ``ecosystems.registered``.

    ``origin`` is its word in ``matrix.yaml`` and in locks.
    """

    @property
    def origin(self) -> str:
        """Return the word that its artifacts' origins start with."""

    def locator(self, sources: Sources, web: "Web") -> Locator:
        """Return what knows where artifacts may be had on this host."""

    def upstream(self, sources: Sources, web: "Web", scratch: Path) -> Upstream:
        """Return what knows the releases; ``scratch`` is an empty directory."""

    def install(self, sink: Sink, place: Place, artifacts: Iterable[tuple[Artifact, Path]]) -> None:
        """Put packages into a place; ``InvalidLock`` for one that cannot be."""


def version_or_none(text: str) -> Version | None:
    """Return a version, ``None`` for what is none: very old files, and Maven's own ways."""
    try:
        return Version(text)
    except InvalidVersion:
        return None
