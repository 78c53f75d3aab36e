"""The ecosystems there are: one line for each. ``matrix.model`` lists their origins."""

from collections.abc import Mapping
from typing import Final

from mlruntime.ecosystems.conda.ecosystem import Conda
from mlruntime.ecosystems.debian.ecosystem import Debian
from mlruntime.ecosystems.maven.ecosystem import Maven
from mlruntime.ecosystems.model import Ecosystem
from mlruntime.ecosystems.pypi.ecosystem import Pypi
from mlruntime.errors import InvalidLock
from mlruntime.lock.packages import Artifact

_ALL: Final[tuple[Ecosystem, ...]] = (Pypi(), Debian(), Maven(), Conda())
ECOSYSTEMS: Final[Mapping[str, Ecosystem]] = {one.origin: one for one in _ALL}


def ecosystem_of(artifact: Artifact) -> Ecosystem:
    """Return the ecosystem that a package is of; ``InvalidLock`` if there is none like it."""
    origin = artifact.origin.partition(":")[0]
    if origin not in ECOSYSTEMS:
        raise InvalidLock(
            f"{artifact.filename} is of {origin!r}, which is no ecosystem",
            why=f"there are {', '.join(sorted(ECOSYSTEMS))}",
            hint="lock again with this mlruntime, or use the one that wrote the lock",
        )
    return ECOSYSTEMS[origin]
