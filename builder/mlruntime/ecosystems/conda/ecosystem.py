"""Conda packages as an ecosystem."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packageurl import PackageURL
from packaging.utils import canonicalize_name

from mlruntime.ecosystems.conda import ORIGIN
from mlruntime.ecosystems.conda.locator import CondaLocator
from mlruntime.ecosystems.conda.upstream import CondaUpstream
from mlruntime.ecosystems.model import Ecosystem
from mlruntime.ecosystems.owners import Owners
from mlruntime.ecosystems.place import Place
from mlruntime.host.settings import Sources
from mlruntime.layers.sink import Sink
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


class Conda(Ecosystem):
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

    def owners(self) -> Owners:
        """Return what reads the notes in ``conda-meta``."""
        from mlruntime.ecosystems.conda.owners import CondaOwners

        return CondaOwners()

    @property
    def licence_files(self) -> tuple[str, ...]:
        """Return the notes of the packages that are installed."""
        return ("conda-meta/*.json",)

    def purl(self, artifact: Artifact, versions: Mapping[str, str]) -> PackageURL:
        """Return a package's URL, with its build and its channel."""
        del versions
        _, subdir, channel = artifact.origin.split(":", 2)
        form = "conda" if artifact.filename.endswith(".conda") else "tar.bz2"
        build = artifact.filename.removesuffix(f".{form}").rpartition("-")[2]
        about = {"build": build, "channel": channel, "subdir": subdir, "type": form}
        return PackageURL("conda", None, artifact.name, artifact.version, about)

    @property
    def advisories(self) -> str:
        """Return PyPI: there are none by conda packages, and many of these are of its projects."""
        return "PyPI"

    def advised(self, name: str) -> str:
        """Return the name that PyPI would have for it."""
        return canonicalize_name(name)


ECOSYSTEM: Final[Ecosystem] = Conda()
