"""New releases of what comes from channels: a runtime names those, this host does not."""

from mlruntime.errors import Unavailable
from mlruntime.matrix.model import ArtifactTemplate, Component, Matrix
from mlruntime.matrix.news import Release


class CondaUpstream:
    """Channels belong to runtimes: without one there is nobody to ask."""

    def releases(
        self, matrix: Matrix, component: Component, artifact: ArtifactTemplate
    ) -> tuple[Release, ...]:
        """Raise ``Unavailable``: what a channel has is asked when a runtime is locked."""
        del matrix
        raise Unavailable(
            f"{component.name}: {artifact.name} comes from a channel, which a runtime names",
            hint="ask the channel, and lock a runtime that has it",
        )
