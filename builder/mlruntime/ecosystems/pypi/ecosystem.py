"""Python packages as an ecosystem."""

import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packageurl import PackageURL
from packaging.utils import canonicalize_name

from mlruntime.ecosystems.model import Ecosystem
from mlruntime.ecosystems.owners import Owners
from mlruntime.ecosystems.place import Place
from mlruntime.ecosystems.pypi import ORIGIN
from mlruntime.ecosystems.pypi.locator import PypiLocator
from mlruntime.ecosystems.pypi.site import Site
from mlruntime.ecosystems.pypi.upstream import PypiUpstream
from mlruntime.ecosystems.pypi.wheel import install_wheel
from mlruntime.ecosystems.pypi.wheel_reading import installed_as
from mlruntime.host.settings import Sources
from mlruntime.layers.sink import Sink
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


class Pypi(Ecosystem):
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

    def size(self, artifact: Artifact, path: Path | None, has: Callable[[str], bool]) -> int | None:
        """Return the size of a wheel's files without bytecode; ``None`` for what is no zip file."""
        del artifact
        if path is None:
            return None
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, OSError):
            return None
        return sum(one.file_size for one in members if has(installed_as(one.filename)))

    def owners(self) -> Owners:
        """Return what reads ``RECORD`` and ``METADATA``."""
        # Imported late, as is all that only a release or an export needs.
        from mlruntime.ecosystems.pypi.owners import PypiOwners

        return PypiOwners()

    @property
    def licence_files(self) -> tuple[str, ...]:
        """Return where installers put them."""
        return ("lib/python*/site-packages/*.dist-info/METADATA",)

    def purl(self, artifact: Artifact, versions: Mapping[str, str]) -> PackageURL:
        """Return a package's URL, whichever file of a release it is."""
        del versions
        return PackageURL("pypi", None, artifact.name, artifact.version)

    @property
    def advisories(self) -> str:
        """Return how OSV calls PyPI."""
        return "PyPI"

    def advised(self, name: str) -> str:
        """Return a name as PyPI compares names."""
        return canonicalize_name(name)


ECOSYSTEM: Final[Ecosystem] = Pypi()
