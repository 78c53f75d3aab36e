"""The container engine. The only package that imports the Docker SDK.

None of the SDK's errors leave it: they become ``Unavailable``, ``CommandFailed`` or
``OutOfSpace``. Whatever it creates carries the labels of ``builder.owner``, so that ``sweep``
can remove what a killed process left, and nothing else.
"""

from builder.containers import (
    EngineInfo,
    ImageInfo,
    Mount,
    Owned,
    RunResult,
    State,
    chain_ids,
)
from builder.engine.connection import Engine
from builder.engine.container import Container, Exec

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
