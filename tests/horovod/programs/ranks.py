"""What the checks share: the Keras under test, a problem, and how results are compared.

Every number is compared twice: between the ranks, and with one process that sees the whole
batch. Stock Horovod under Keras 3 passes neither, and raises nothing.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

LEGACY = not str(getattr(tf.keras, "__version__", "2")).startswith("3")  # Keras 2 or tf-keras
STEPS, PER_RANK, FEATURES, WORDS = 4, 4, 5, 9
CHECKS: list["Check"] = []


@dataclass(frozen=True, kw_only=True)
class Check:
    """A function of the API under test; ``both`` when it is run for ``horovod.keras`` too."""

    name: str
    function: Callable[[Any], None]
    both: bool


def check(*, both: bool = False, legacy: bool = True) -> Callable[[Any], Any]:
    """Register a check; ``legacy`` says whether it also means something for Keras 2."""

    def register(function: Any) -> Any:
        if legacy or not LEGACY:
            CHECKS.append(Check(name=function.__name__, function=function, both=both))
        return function

    return register


def apis() -> list[Any]:
    """Return ``horovod.tensorflow.keras`` and ``horovod.keras``, each with its Keras."""
    import horovod.keras
    import horovod.tensorflow.keras

    if os.environ.get("TF_USE_LEGACY_KERAS") == "1":
        import tf_keras as keras
    else:
        import keras
    return [
        SimpleNamespace(name="tensorflow.keras", hvd=horovod.tensorflow.keras, keras=tf.keras),
        SimpleNamespace(name="keras", hvd=horovod.keras, keras=keras),
    ]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Global batches in order, and this rank's part of each of them."""

    x: Any
    y: Any
    mine: tuple[Any, Any]

    @property
    def whole(self) -> tuple[Any, Any]:
        return self.x, self.y


def data(*, words: bool = False, steps: int = STEPS, unlike: bool = False) -> Data:
    """Return a regression problem; ``words``: whole numbers to look up, or large ones."""
    random, size = np.random.default_rng(7), hvd.size()
    rows = steps * size * PER_RANK
    if words:
        x = random.integers(0, WORDS, size=(rows, 3)).astype("int32")
        y = random.normal(size=(rows, 1)).astype("float32")
    else:
        x = random.normal(size=(rows, FEATURES)).astype("float32")
        y = np.tanh(x @ random.normal(size=(FEATURES, 1))).astype("float32")
    if unlike:
        y *= 5
    return Data(x=x, y=y, mine=(part(x, steps), part(y, steps)))


def part(rows: Any, steps: int = STEPS) -> Any:
    """Return this rank's rows of every global batch."""
    cut = rows.reshape(steps, hvd.size(), PER_RANK, *rows.shape[1:])[:, hvd.rank()]
    return cut.reshape(-1, *rows.shape[1:])


def dense(api: Any, seed: int = 1, **last: Any) -> Any:
    """Return a small model with the same weights for the same seed."""
    api.keras.utils.set_random_seed(seed)
    layers = api.keras.layers
    return api.keras.Sequential(
        [
            layers.Input((FEATURES,)),
            layers.Dense(4, activation="tanh"),
            layers.Dense(3, activation="tanh"),
            layers.Dense(1, **last),
        ]
    )


def unbuilt(api: Any) -> Any:
    """Return a model whose weights are made with its first batch, always the same ones."""

    def seeded(number: int) -> Any:
        def start(shape: Any, dtype: Any = None, **_: Any) -> Any:
            values = np.random.default_rng(number).normal(scale=0.5, size=tuple(shape))
            return tf.constant(values, dtype="float32")

        return start

    layers = api.keras.layers
    return api.keras.Sequential(
        [
            layers.Dense(4, activation="tanh", kernel_initializer=seeded(1)),
            layers.Dense(1, kernel_initializer=seeded(2)),
        ]
    )


def embedding(api: Any, seed: int = 1) -> Any:
    """Return a model whose first gradient is sparse."""
    api.keras.utils.set_random_seed(seed)
    layers = api.keras.layers
    return api.keras.Sequential(
        [layers.Input((3,), dtype="int32"), layers.Embedding(WORDS, 4), layers.Flatten(),
         layers.Dense(1)]
    )  # fmt: skip


def fit(model: Any, rows: tuple[Any, Any], batch: int, epochs: int = 2, **more: Any) -> Any:
    """Train in the order of the rows; return the history."""
    return model.fit(
        *rows, batch_size=batch, epochs=epochs, shuffle=False, verbose=0, **more
    ).history


def fit_alone(model: Any, problem: Data, epochs: int = 2, passes: int = 1, **more: Any) -> Any:
    """Train on whole global batches, without Horovod."""
    return fit(model, problem.whole, PER_RANK * hvd.size() * passes, epochs, **more)


def flat(values: Any) -> Any:
    """Return all numbers of a model's weights, or of a list of arrays, as one vector."""
    arrays = values.get_weights() if hasattr(values, "get_weights") else values
    return np.concatenate([np.asarray(one, dtype="float64").ravel() for one in arrays])


def everywhere(values: Any) -> Any:
    """Return one row per rank."""
    return hvd.allgather(tf.constant(np.asarray(values, dtype="float64")[None])).numpy()


def same_on_all(what: str, values: Any) -> None:
    """Fail unless every rank has exactly these numbers, bit for bit."""
    digests = hvd.allgather_object(hashlib.sha256(np.ascontiguousarray(values)).hexdigest())
    if len(set(digests)) > 1:
        rows = everywhere(values)
        apart = np.abs(rows - rows[0]).max()
        raise AssertionError(f"{what}: the ranks are {apart} apart")


def close(what: str, found: Any, wanted: Any, within: float = 1e-5) -> None:
    """Fail unless the numbers are there and near enough."""
    apart = np.abs(np.asarray(found, dtype="float64") - np.asarray(wanted, dtype="float64")).max()
    assert apart <= within, f"{what}: {apart} from what it should be, more than {within}"


def trained_alike(what: str, model: Any, alone: Any, within: float = 1e-5) -> None:
    """Fail unless ranks agree with one another and with one process; and something was learnt."""
    same_on_all(what, flat(model))
    close(what, flat(model), flat(alone), within)


def scaling(api: Any) -> Any:
    """Return the LossScaleOptimizer of this Keras."""
    if LEGACY:
        return api.keras.mixed_precision.LossScaleOptimizer
    return api.keras.optimizers.LossScaleOptimizer


def distributed(api: Any, optimizer: Any, **options: Any) -> Any:
    """Return the optimizer under test."""
    return api.hvd.DistributedOptimizer(optimizer, **options)


def run_checks(only: list[str]) -> int:
    """Run all checks, in the same order on every rank; rank 0 prints a JSON line for each."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    if os.environ.get("KERAS_ASKS_FOR_XLA") == "1":
        ask_for_xla()
    hvd.init(process_sets="dynamic")
    planned = [
        (f"{one.name}[{api.name}]", one, api)
        for number, api in enumerate(apis())
        for one in CHECKS
        if (one.both or not number) and (not only or one.name in only)
    ]
    say({"checks": [name for name, _, _ in planned]})
    failed = 0
    for name, one, api in planned:
        began = time.monotonic()
        said = hvd.allgather_object(_run(one, api))
        wrong = [f"rank {rank}: {words}" for rank, words in enumerate(said) if words]
        failed += bool(wrong)
        say({"check": name, "failed": wrong, "seconds": round(time.monotonic() - began, 1)})
    return 1 if failed else 0


def ask_for_xla() -> None:
    """Let Keras 3 ask for XLA by itself, as it does on a host with a GPU and only there."""
    from keras.src.trainers import trainer

    def resolved(self: Any) -> bool:
        return bool(trainer.model_supports_jit(self))

    assert not trainer.Trainer()._resolve_auto_jit_compile(), "this host has a GPU"
    trainer.Trainer._resolve_auto_jit_compile = resolved


def say(data: Any) -> None:
    if hvd.rank() == 0:
        print(json.dumps(data), flush=True)


def _run(one: Check, api: Any) -> str:
    try:
        one.function(api)
    except Exception as error:  # what a check raises is its result
        import traceback

        traceback.print_exc(file=sys.stderr)
        return f"{type(error).__name__}: {error}"[:500]
    return ""
