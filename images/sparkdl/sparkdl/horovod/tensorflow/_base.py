"""What callbacks of Keras 2, Keras 3 and tf-keras have in common."""

import importlib.util
import os
import sys
from typing import Any


def _keras() -> Any:
    legacy = os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "True", "true")
    only = "tf_keras" in sys.modules and "keras" not in sys.modules
    if (legacy or only) and importlib.util.find_spec("tf_keras"):
        import tf_keras

        return tf_keras
    import keras

    return keras


class Callback(_keras().callbacks.Callback):
    """The base of Keras 2 asks what a callback implements; that of Keras 3 does not have it."""

    _batches = False
    # Keras 2 would otherwise wait for every batch's tensors to make numbers of them.
    _supports_tf_logs = True

    def _implements_train_batch_hooks(self) -> bool:
        return self._batches

    def _implements_test_batch_hooks(self) -> bool:
        return False

    def _implements_predict_batch_hooks(self) -> bool:
        return False
