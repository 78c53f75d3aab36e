"""Keras as stages of Spark ML pipelines: ``KerasEstimator`` and ``KerasModel``."""

from sparkdl.estimator._estimator import KerasEstimator
from sparkdl.estimator._model import KerasModel

__all__ = ["KerasEstimator", "KerasModel"]

# Saved stages name their class by this module: it stays when the files behind it move.
for _stage in (KerasEstimator, KerasModel):
    _stage.__module__ = __name__
