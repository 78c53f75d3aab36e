"""Where a conda package is: in a subdir of its channel."""

from typing import TYPE_CHECKING, Final

from mlruntime.ecosystems.conda.channel import channel_url
from mlruntime.host.settings import Sources
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


class CondaLocator:
    """Knows the layout of a channel; an artifact's origin is ``conda:SUBDIR:CHANNEL``."""

    hint: Final = (
        "the channel has dropped this build: lock again, or name a mirror that has it in"
        " MLRUNTIME_CONDA_CHANNELS"
    )

    def __init__(self, sources: Sources, web: "Web") -> None:
        del web
        self._sources = sources

    def urls(self, artifact: Artifact) -> tuple[str, ...]:
        """Return the one address that a package can have."""
        _, subdir, channel = artifact.origin.split(":", 2)
        return (f"{channel_url(channel, self._sources)}/{subdir}/{artifact.filename}",)
