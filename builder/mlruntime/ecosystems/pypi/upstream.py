"""What the package indexes have released of a component."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from mlruntime.ecosystems.model import version_or_none
from mlruntime.errors import Unavailable
from mlruntime.fetch.indexes import project_listings
from mlruntime.host.settings import Sources
from mlruntime.matrix.model import ArtifactTemplate, Component, Matrix
from mlruntime.matrix.news import Release, alternatives

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage

    from mlruntime.fetch.web import Web

# Platforms of wheels that run in an image: any, or Linux with glibc on amd64.
_PLATFORM: Final = re.compile(r"any|(many)?linux\w*_x86_64")


class PypiUpstream:
    """The package indexes of this host."""

    def __init__(self, sources: Sources, web: "Web") -> None:
        self._sources = sources
        self._web = web

    def releases(
        self, matrix: Matrix, component: Component, artifact: ArtifactTemplate
    ) -> tuple[Release, ...]:
        """Return the releases that have files, yanked ones left out."""
        del component
        files: dict[Version, list[DistributionPackage]] = {}
        for name in alternatives(artifact.name, matrix):
            listings = project_listings(self._sources, self._web, canonicalize_name(name))
            for file in (file for listing in listings for file in listing.files):
                version = version_or_none(file.version or "")
                if version is None or file.is_yanked:
                    continue
                if artifact.pin == "prefix":
                    version = Version(f"{version.major}.{version.minor}")
                files.setdefault(version, []).append(file)
        if not files:
            raise Unavailable(f"the package index does not have {artifact.name}")
        return tuple(_release(version, found) for version, found in files.items())


def _release(version: Version, files: "list[DistributionPackage]") -> Release:
    requires = next((f.requires_python for f in files if f.requires_python), None)
    tags = {tag for file in files for tag in _tags(file.filename)}
    wheels = {tag for tag in tags if _PLATFORM.fullmatch(tag.platform)}
    anything = not wheels or any(t.interpreter.startswith("py") or t.abi == "abi3" for t in wheels)
    return Release(
        version=version,
        requires_python=requires,
        pythons=None if anything else frozenset(_minors(wheels)),
    )


def _tags(filename: str) -> frozenset[Tag]:
    try:
        return parse_wheel_filename(filename)[3]
    except InvalidWheelFilename:  # an sdist
        return frozenset()


def _minors(tags: set[Tag]) -> Iterator[str]:
    for tag in tags:
        # A free-threaded build (cp313t) is not what the images have.
        match = re.fullmatch(r"cp(\d)(\d+)", tag.interpreter)
        if match and tag.abi == tag.interpreter:
            yield f"{match[1]}.{match[2]}"
