"""Distributed Keras and TensorFlow training from a Spark program: ``HorovodRunner``."""

from sparkdl._errors import NotEnoughSlots, RankFailed
from sparkdl._runner import HorovodRunner

__all__ = ["HorovodRunner", "NotEnoughSlots", "RankFailed"]
