"""The ecosystems that ``matrix.origins`` names, each from its folder here."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from mlruntime.ecosystems.model import Ecosystem
from mlruntime.errors import InvalidLock
from mlruntime.lock.packages import Artifact
from mlruntime.matrix.origins import ORIGINS


def _of_folder(origin: str) -> Ecosystem:
    ecosystem: Ecosystem = import_module(f"mlruntime.ecosystems.{origin}.ecosystem").ECOSYSTEM
    return ecosystem


ECOSYSTEMS: Final[Mapping[str, Ecosystem]] = {origin: _of_folder(origin) for origin in ORIGINS}


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
