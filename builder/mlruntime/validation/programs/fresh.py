"""Calling a function in a Python process of its own, with environment variables of its own."""

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .harness import Mismatch

# What makes TensorFlow's Keras, and Horovod's with it, the Keras 2 of tf-keras.
LEGACY_KERAS = {"TF_USE_LEGACY_KERAS": "1"}
_CHILD = """
import pickle, sys
with open(sys.argv[1], "rb") as given:
    function = pickle.load(given)
answer = function()
with open(sys.argv[2], "wb") as out:
    pickle.dump(answer, out)
"""


def call(function: Callable[[], Any], environment: Mapping[str, str]) -> Any:
    """Return ``function()`` from a new process; raise ``Mismatch`` with its last words if it fails.

    Some variables are read once, when TensorFlow is imported, which Python workers and the driver
    have done long ago.
    """
    import cloudpickle

    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder, "function"), Path(folder, "answer")
        given.write_bytes(cloudpickle.dumps(function))
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, str(given), str(answer)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if done.returncode != 0:
            last = "\n".join(done.stdout.splitlines()[-20:])
            raise Mismatch(f"a new process ended with {done.returncode}\n{last}")
        return pickle.loads(answer.read_bytes())
