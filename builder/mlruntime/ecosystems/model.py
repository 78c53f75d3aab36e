"""What an ecosystem is: where its packages are found, how they are installed and documented."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from packageurl import PackageURL
from packaging.version import InvalidVersion, Version

from mlruntime.ecosystems.owners import Owners
from mlruntime.ecosystems.place import Place
from mlruntime.ecosystems.wanted import RequestedArtifact
from mlruntime.fetch.locating import Locator
from mlruntime.host.settings import Sources
from mlruntime.layers.sink import Sink
from mlruntime.lock.packages import Artifact
from mlruntime.matrix.model import ArtifactTemplate, Component, Matrix
from mlruntime.matrix.news import Release

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """How this host reaches registries while a runtime is locked.

    ``scratch`` is an empty directory; what is uploaded after ``snapshot`` (RFC 3339) is ignored.
    """

    sources: Sources
    web: "Web"
    scratch: Path
    snapshot: str


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Bundled:
    """A package that is in a file of another one; ``file`` is that file's path."""

    origin: str
    name: str
    version: str
    purl: str
    file: str


class Upstream(Protocol):
    """Says what an ecosystem's registries have released."""

    def releases(
        self, matrix: Matrix, component: Component, artifact: ArtifactTemplate
    ) -> tuple[Release, ...]:
        """Return the releases of a component that one of its artifacts has.

        Raises ``Unavailable`` when no registry has any.
        """


class Ecosystem(Protocol):
    """One kind of packages. Each is a folder here, and one line in ``matrix.origins``.

    ``origin`` is its word in ``matrix.yaml`` and in locks. Where most ecosystems do the same, that
    is here, for those that name this class as their base. ``versions`` are those of a lock's
    components.
    """

    @property
    def origin(self) -> str:
        """Return the word that its artifacts' origins start with."""

    def locator(self, sources: Sources, web: "Web") -> Locator:
        """Return what knows where artifacts may be had on this host."""

    def upstream(self, sources: Sources, web: "Web", scratch: Path) -> Upstream:
        """Return what knows the releases; ``scratch`` is an empty directory."""

    def lock(self, wanted: tuple[RequestedArtifact, ...], reach: Reach) -> tuple[Artifact, ...]:
        """Return what is wanted, and what that needs, as files with their hashes.

        Raises ``ArtifactNotFound`` for what no registry has. An ecosystem that is joined with
        others is not asked.
        """
        del wanted, reach
        raise NotImplementedError(f"{self.origin} is joined with others")

    @property
    def recipe(self) -> str:
        """Return what stands for ``install`` in keys of layers: another word for other bytes."""
        return "1"

    def install(self, sink: Sink, place: Place, artifacts: Iterable[tuple[Artifact, Path]]) -> None:
        """Put packages into a place; ``InvalidLock`` for one that cannot be."""

    def size(self, artifact: Artifact, path: Path | None, has: Callable[[str], bool]) -> int | None:
        """Return what a package takes when it is installed, in bytes; ``None`` if nobody knows.

        ``path`` is its file if that is here, and ``has`` tells which of its files are installed.
        """
        del artifact, path, has
        return None

    def owners(self) -> Owners:
        """Return what knows whose the files are that packages of this ecosystem bring."""

    @property
    def licence_files(self) -> tuple[str, ...]:
        """Return patterns of files, in an environment, in which its owners find licences."""
        return ()

    def owner(self, name: str) -> str:
        """Return a package as ``owners`` calls it."""
        return f"{self.origin}:{name}"

    def purl(self, artifact: Artifact, versions: Mapping[str, str]) -> PackageURL:
        """Return a package's URL."""

    def scanned(self, artifact: Artifact) -> PackageURL:
        """Return the URL by which scanners of all makers know a package: without qualifiers."""
        whole = self.purl(artifact, {})
        return PackageURL(whole.type, whole.namespace, whole.name, whole.version)

    @property
    def advisories(self) -> str:
        """Return how OSV, the database of advisories, calls this ecosystem; ``""``: not at all."""
        return ""

    def advisories_of(self, versions: Mapping[str, str]) -> str:
        """Return how OSV calls the part of it that a lock's packages are from."""
        del versions
        return self.advisories

    def advised(self, name: str) -> str:
        """Return a package's name so that those of locks and of advisories can be compared."""
        return name

    def bundled(self, path: str, content: Callable[[], bytes]) -> tuple["Bundled", ...] | None:
        """Return the packages of its own that are in a file of any package.

        ``None`` for a file that can have none in it, nothing for one that does not say.
        """
        del path, content
        return None

    def version_order(self, version: str) -> Any:
        """Return what compares as the ecosystem compares versions."""
        return version_by_numbers(version)


def version_or_none(text: str) -> Version | None:
    """Return a version, ``None`` for what is none: very old files, and Maven's own ways."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


def version_by_numbers(text: str) -> Version:
    """Return a version, of nothing but its numbers if PEP 440 does not know the rest of it."""
    numbers = [part for part in text.replace("-", ".").split(".") if part.isdecimal()]
    return version_or_none(text) or Version(".".join(numbers) or "0")
