"""Jars as an ecosystem."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packageurl import PackageURL

from mlruntime.ecosystems.maven import ORIGIN
from mlruntime.ecosystems.maven.inside import projects_in
from mlruntime.ecosystems.maven.locator import MavenLocator
from mlruntime.ecosystems.maven.owners import JarOwners, owner_of
from mlruntime.ecosystems.maven.upstream import MavenUpstream
from mlruntime.ecosystems.model import Bundled, Ecosystem
from mlruntime.ecosystems.owners import Owners
from mlruntime.ecosystems.place import Place
from mlruntime.errors import InvalidLock
from mlruntime.host.settings import Sources
from mlruntime.layers.paths import UnsafePath
from mlruntime.layers.sink import Sink
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


class Maven(Ecosystem):
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

    def size(self, artifact: Artifact, path: Path | None, has: Callable[[str], bool]) -> int | None:
        """Return a jar's own size: it is not unpacked."""
        del path, has
        return artifact.size

    def owners(self) -> Owners:
        """Return what goes by the names of jars."""
        return JarOwners()

    def owner(self, name: str) -> str:
        """Return a jar as an owner."""
        return owner_of(name)

    def purl(self, artifact: Artifact, versions: Mapping[str, str]) -> PackageURL:
        """Return a jar's URL."""
        del versions
        group, name, *classifier = artifact.name.split(":")
        qualifiers = {"classifier": classifier[0], "type": "jar"} if classifier else {}
        return PackageURL("maven", group, name, artifact.version, qualifiers)

    def bundled(self, path: str, content: Callable[[], bytes]) -> tuple[Bundled, ...] | None:
        """Return the projects that a jar says that it has."""
        if not path.endswith(".jar"):
            return None
        return tuple(
            Bundled(
                origin=ORIGIN,
                name=name,
                version=version,
                purl=PackageURL("maven", group, artifact, version).to_string(),
                file=path,
            )
            for name, version in projects_in(content())
            for group, artifact in [name.split(":")]
        )

    @property
    def advisories(self) -> str:
        """Return how OSV calls Maven's repositories."""
        return "Maven"


ECOSYSTEM: Final[Ecosystem] = Maven()
