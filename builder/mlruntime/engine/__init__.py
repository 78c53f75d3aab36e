"""The container engine. The only package that imports the Docker SDK.

None of the SDK's errors leave it: they become ``Unavailable``, ``CommandFailed`` or
``OutOfSpace``. Whatever it creates carries the labels of ``engine.owner``, so that ``sweep``
can remove what a killed process left, and nothing else.
"""

from mlruntime.engine.connection import Engine
from mlruntime.engine.container import Container, Exec
from mlruntime.engine.values import (
    EngineInfo,
    ImageInfo,
    Mount,
    Owned,
    RunResult,
    State,
    chain_ids,
)

__all__ = [
    "Container",
    "Engine",
    "EngineInfo",
    "Exec",
    "ImageInfo",
    "Mount",
    "Owned",
    "RunResult",
    "State",
    "chain_ids",
]
