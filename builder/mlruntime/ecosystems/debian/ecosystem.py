"""Debian packages as an ecosystem."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packageurl import PackageURL

from mlruntime.ecosystems.debian import ORIGIN
from mlruntime.ecosystems.debian.locator import DebianLocator
from mlruntime.ecosystems.debian.packages import installed_size, unpack
from mlruntime.ecosystems.debian.upstream import DebianUpstream
from mlruntime.ecosystems.model import Ecosystem
from mlruntime.ecosystems.owners import Owners
from mlruntime.ecosystems.place import Place
from mlruntime.host.settings import Sources
from mlruntime.layers.sink import Sink
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


class Debian(Ecosystem):
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

    def size(self, artifact: Artifact, path: Path | None, has: Callable[[str], bool]) -> int | None:
        """Return what a package says itself."""
        del has
        return installed_size(artifact, path) if path else None

    def owners(self) -> Owners:
        """Return what reads dpkg's lists."""
        # Imported late, as is all that only a release or an export needs.
        from mlruntime.ecosystems.debian.owners import DebianOwners

        return DebianOwners()

    @property
    def licence_files(self) -> tuple[str, ...]:
        """Return where Debian Policy has them (12.5)."""
        return ("usr/share/doc/*/copyright",)

    def owner(self, name: str) -> str:
        """Return a package as dpkg's lists have it."""
        return f"deb:{name}"

    def purl(self, artifact: Artifact, versions: Mapping[str, str]) -> PackageURL:
        """Return a package's URL, with its Debian release if that is known."""
        arch = artifact.filename.rpartition("_")[2].removesuffix(".deb")
        release = versions.get(ORIGIN)
        qualifiers = {"arch": arch} | ({"distro": f"debian-{release}"} if release else {})
        return PackageURL("deb", "debian", artifact.name, artifact.version, qualifiers)

    def scanned(self, artifact: Artifact) -> PackageURL:
        """Return the URL without a version that has an epoch: to others, that is a qualifier."""
        version = None if ":" in artifact.version else artifact.version
        return PackageURL("deb", "debian", artifact.name, version)

    @property
    def advisories(self) -> str:
        """Return how OSV calls Debian."""
        return "Debian"

    def advisories_of(self, versions: Mapping[str, str]) -> str:
        """Return how OSV calls a release of it."""
        return f"{self.advisories}:{versions.get(ORIGIN, '')}"

    def version_order(self, version: str) -> Any:
        """Return what compares as dpkg does."""
        from debian.debian_support import Version

        return Version(version)


ECOSYSTEM: Final[Ecosystem] = Debian()
