"""What the Maven repository has released of a component."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from packaging.version import Version

from mlruntime.ecosystems.maven.locator import maven_url
from mlruntime.ecosystems.maven.xml import UnreadableXml, read_xml
from mlruntime.ecosystems.model import version_or_none
from mlruntime.errors import Unavailable
from mlruntime.host.settings import Sources, without_secrets
from mlruntime.matrix.model import ArtifactTemplate, Component, Matrix
from mlruntime.matrix.news import Release, alternatives

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


class MavenUpstream:
    """The Maven repository of this host."""

    def __init__(self, sources: Sources, web: "Web") -> None:
        self._sources = sources
        self._web = web

    def releases(
        self, matrix: Matrix, component: Component, artifact: ArtifactTemplate
    ) -> tuple[Release, ...]:
        """Return the releases that its metadata list."""
        del component
        template = artifact.name
        found: set[Version] = set()
        for name in alternatives(template, matrix):
            url = maven_url(self._sources.maven, name, "", "").rstrip("/") + "/maven-metadata.xml"
            answer = self._web.text(url, part="maven")
            if answer is not None:
                found |= set(_published(answer[2], url))
        if not found:
            raise Unavailable(f"the Maven repository has no list of releases of {template}")
        return tuple(Release(version=version) for version in found)


def _published(text: str, url: str) -> Iterator[Version]:
    try:
        top = read_xml(text)
    except UnreadableXml as error:
        raise Unavailable(f"{without_secrets(url)} cannot be read", why=str(error)) from None
    for node in top.iterfind("versioning/versions/version"):
        if (version := version_or_none((node.text or "").strip())) is not None:
            yield version
