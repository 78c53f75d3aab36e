"""The container engine: what the product needs of one, and Docker's API as one way to it.

May import layers.

``interface`` says what is needed; ``docker`` is the only package that imports the Docker SDK.
Whatever is created carries the labels of ``owner``, so that ``sweep`` can remove what a killed
process left, and nothing else.
"""

from mlruntime.engine.connecting import Connecting, connect
from mlruntime.engine.interface import Container, Engine, Exec, Images, Runs, Starts
from mlruntime.engine.running import Running
from mlruntime.engine.values import (
    EngineInfo,
    ImageInfo,
    ImageStore,
    Mount,
    Owned,
    RunResult,
    Service,
    State,
    chain_ids,
)

__all__ = [
    "Connecting",
    "Container",
    "Engine",
    "EngineInfo",
    "Exec",
    "ImageInfo",
    "ImageStore",
    "Images",
    "Mount",
    "Owned",
    "RunResult",
    "Running",
    "Runs",
    "Service",
    "Starts",
    "State",
    "chain_ids",
    "connect",
]
