"""Distributed Keras and TensorFlow training from a Spark program: ``HorovodRunner``."""

from sparkdl._errors import (
    HorovodRunnerError,
    NotEnoughSlots,
    NotSendable,
    RankFailed,
    RankLost,
    RunCancelled,
    UnsuitableCluster,
)
from sparkdl._options import RunOptions
from sparkdl._runner import HorovodRunner

__all__ = [
    "HorovodRunner",
    "HorovodRunnerError",
    "NotEnoughSlots",
    "NotSendable",
    "RankFailed",
    "RankLost",
    "RunCancelled",
    "RunOptions",
    "UnsuitableCluster",
]
