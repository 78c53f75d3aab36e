"""What the registries of this host offer of each component."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version
from pypi_simple import DistributionPackage

from mlruntime.ecosystems.debian.archive import Archive
from mlruntime.errors import MlruntimeError, Unavailable
from mlruntime.fetch.downloads import maven_url
from mlruntime.fetch.indexes import project_listings
from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources, without_secrets
from mlruntime.host.tasks import TaskGroup
from mlruntime.matrix.model import PLACEHOLDER, ArtifactTemplate, Component, Matrix
from mlruntime.matrix.news import Answer, Offer, Release, alternatives

# As many registries' answers are waited for at a time.
_AT_ONCE: Final = 8
# What an image can have: anything, or Linux with glibc on amd64.
_PLATFORM: Final = re.compile(r"any|(many)?linux\w*_x86_64")


class Registries:
    """PyPI, Maven and Debian, asked for the releases of the matrix's components.

    ``scratch`` is an empty directory for apt; a Debian release is read once, and only when a
    component comes from there.
    """

    def __init__(
        self,
        sources: Sources,
        web: Web,
        scratch: Path,
        archive: Callable[[Sources, str, Path], Archive] = Archive,
    ) -> None:
        self._sources = sources
        self._web = web
        self._scratch = scratch
        self._archive = archive
        self._names: dict[str, frozenset[str] | str] = {}
        self._guard = threading.Lock()

    def answers(self, matrix: Matrix) -> Iterator[Answer]:
        """Yield an answer for every component with artifacts; a registry's failure is one too.

        Artifacts with versions of their own tell nothing of a component's.
        """
        with TaskGroup(_AT_ONCE, self._web.stop.set, name="news") as crew:
            jobs = [
                crew.submit(self._answer, matrix, component, artifacts)
                for component in matrix.components.values()
                if (artifacts := [a for a in component.artifacts if a.pin != "free"])
            ]
            for job in jobs:
                yield job.result()

    def _answer(
        self, matrix: Matrix, component: Component, artifacts: list[ArtifactTemplate]
    ) -> Answer:
        try:
            offers = [self._offer(matrix, component, a) for a in artifacts]
            return Answer(component=component.name, offers=tuple(offers))
        except MlruntimeError as error:
            why = error.what + (f": {error.why.splitlines()[0]}" if error.why else "")
            return Answer(component=component.name, error=why)

    def _offer(self, matrix: Matrix, component: Component, artifact: ArtifactTemplate) -> Offer:
        what = f"{artifact.origin}:{artifact.name}"
        if artifact.origin == "pypi":
            return Offer(what=what, releases=self._pypi(matrix, artifact))
        if artifact.origin == "maven":
            return Offer(what=what, releases=self._maven(matrix, artifact.name))
        return Offer(what=what, releases=self._debian(matrix, component, artifact.name))

    def _pypi(self, matrix: Matrix, artifact: ArtifactTemplate) -> tuple[Release, ...]:
        files: dict[Version, list[DistributionPackage]] = {}
        for name in alternatives(artifact.name, matrix):
            listings = project_listings(self._sources, self._web, canonicalize_name(name))
            for file in (file for listing in listings for file in listing.files):
                version = _version(file.version or "")
                if version is None or file.is_yanked:
                    continue
                if artifact.pin == "prefix":
                    version = Version(f"{version.major}.{version.minor}")
                files.setdefault(version, []).append(file)
        if not files:
            raise Unavailable(f"the package index does not have {artifact.name}")
        return tuple(_release(version, found) for version, found in files.items())

    def _maven(self, matrix: Matrix, template: str) -> tuple[Release, ...]:
        found: set[Version] = set()
        for name in alternatives(template, matrix):
            url = maven_url(self._sources.maven, name, "", "").rstrip("/") + "/maven-metadata.xml"
            answer = self._web.text(url, part="maven")
            if answer is not None:
                found |= set(_published(answer[2], url))
        if not found:
            raise Unavailable(f"the Maven repository has no list of releases of {template}")
        return tuple(Release(version=version) for version in found)

    def _debian(self, matrix: Matrix, component: Component, template: str) -> tuple[Release, ...]:
        pattern = re.compile(_named(template, component.name))
        found: set[Version] = set()
        failures = []
        for release in matrix.components["debian"].releases:
            names = self._packages(str(release))
            if isinstance(names, str):
                failures.append(names)
                continue
            matches = (pattern.fullmatch(name) for name in names)
            found |= {Version(match[1]) for match in matches if match}
        if not found:
            raise Unavailable("; ".join(failures) or f"no Debian release has {template}")
        return tuple(Release(version=version) for version in found)

    def _packages(self, release: str) -> frozenset[str] | str:
        """Return the names of all packages of a Debian release, or why it cannot be read."""
        with self._guard:  # apt reads a release once, whoever asks
            if release not in self._names:
                root = self._scratch / f"debian-{release}"
                root.mkdir(parents=True)
                try:
                    self._names[release] = self._archive(self._sources, release, root).names
                except MlruntimeError as error:
                    self._names[release] = error.what
            return self._names[release]


def _named(template: str, component: str) -> str:
    """Return a pattern for the names a template can stand for, the release being group 1."""
    parts, end = [], 0
    for found in PLACEHOLDER.finditer(template):
        parts.append(re.escape(template[end : found.start()]))
        group = r"\d+" if found[2] == "major" else r"\d+\.\d+"
        parts.append(f"({group})" if found[1] == component else f"(?:{group})")
        end = found.end()
    return "".join([*parts, re.escape(template[end:])])


def _published(text: str, url: str) -> Iterator[Version]:
    try:
        top = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise Unavailable(f"{without_secrets(url)} cannot be read", why=str(error)) from None
    for node in top.iterfind("versioning/versions/version"):
        if (version := _version((node.text or "").strip())) is not None:
            yield version


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:  # very old files, and Maven's own ways to write versions
        return None


def _release(version: Version, files: list[DistributionPackage]) -> Release:
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
