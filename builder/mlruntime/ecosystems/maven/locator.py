"""Where a jar is: at one place in the Maven repository of this host."""

from typing import TYPE_CHECKING, Final

from mlruntime.host.settings import Sources
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


class MavenLocator:
    """Knows the layout of a Maven repository."""

    hint: Final = (
        "set MLRUNTIME_MAVEN_REPOSITORY to a repository that has it, or ask for another release"
    )

    def __init__(self, sources: Sources, web: "Web") -> None:
        del web
        self._repository = sources.maven

    def urls(self, artifact: Artifact) -> tuple[str, ...]:
        """Return the one address a jar can have."""
        name, version = artifact.name, artifact.version
        return (maven_url(self._repository, name, version, artifact.filename),)


def maven_url(repository: str, name: str, version: str, filename: str) -> str:
    """Return where a repository in Maven's layout has a file of ``group:artifact``.

    A classifier may follow; it is part of the file's name alone.
    """
    group, artifact = name.split(":")[:2]
    return f"{repository}/{group.replace('.', '/')}/{artifact}/{version}/{filename}"
