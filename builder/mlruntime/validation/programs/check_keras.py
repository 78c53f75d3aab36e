"""Keras: training is gradient descent, and a saved model is the same model."""

import tempfile
from pathlib import Path
from typing import Any

from . import fresh, training
from .cluster import Cluster
from .harness import Proof


def _trained() -> dict[str, Any]:
    """Train on the whole batch; return the weights, and the loss before each step."""
    keras = training.keras()
    x, y = training.data()
    model = training.model(training.start())
    model.compile(keras.optimizers.SGD(training.RATE), loss="mse")
    history = model.fit(
        x, y, batch_size=len(x), epochs=training.STEPS, shuffle=False, verbose=0
    ).history["loss"]
    return {"weights": model.get_weights(), "losses": [float(one) for one in history]}


def _descends(proof: Proof, answer: dict[str, Any]) -> None:
    want = training.by_hand()
    for number, (got, right) in enumerate(zip(answer["weights"], want, strict=True)):
        proof.close(f"weights.{number}", got, right, within=1e-5)
    losses = answer["losses"]
    proof.below("last loss over first", losses[-1] / losses[0], 0.5)


def fit(cluster: Cluster, proof: Proof) -> None:
    """``fit`` on the whole batch ends at the weights that numpy ends at, and learns."""
    _descends(proof, _trained())


def _saved() -> dict[str, Any]:
    """Train, save, load and train on; return what each model predicts and its next loss."""
    import numpy as np

    keras = training.keras()
    keras.utils.set_random_seed(31)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    x = np.random.default_rng(32).normal(size=(32, 8, 8, 1)).astype("float32")
    y = (x.mean(axis=(1, 2, 3)) > 0).astype("int32")
    model.fit(x, y, batch_size=16, epochs=1, verbose=0)
    answer: dict[str, Any] = {"before": model.predict(x, verbose=0).tolist()}
    models = {"saved": model}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("keras", "h5"):
            path = str(Path(folder, f"model.{suffix}"))
            model.save(path)
            models[suffix] = keras.models.load_model(path)
            answer[suffix] = models[suffix].predict(x, verbose=0).tolist()
    if _forgets_the_optimizer(keras):
        models["h5"].compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    # Two steps: only the second loss tells whether the optimizer's state came along.
    answer["next"] = {name: _two_steps(one, x, y) for name, one in models.items()}
    if _forgets_the_optimizer(keras):
        answer["next"]["h5"].pop()
    return answer


def _forgets_the_optimizer(keras: Any) -> bool:
    """Tell whether a model from ``.h5`` cannot train on before it is compiled anew.

    Keras 3 builds the optimizer of such a model for the variables of the model's own, of which a
    model made of layers has none.
    """
    return int(keras.__version__.partition(".")[0]) >= 3


def _two_steps(model: Any, x: Any, y: Any) -> list[float]:
    losses = []
    for _ in range(2):
        model.reset_metrics()  # Keras 3 goes on averaging the loss otherwise
        losses.append(float(model.train_on_batch(x, y)))
    return losses


def _survives(proof: Proof, answer: dict[str, Any]) -> None:
    before = answer["before"]
    proof.close("probabilities", [sum(row) for row in before], [1.0] * len(before), within=1e-5)
    for suffix in ("keras", "h5"):
        proof.close(f"predictions.{suffix}", answer[suffix], before, within=0)
        got, want = answer["next"][suffix], answer["next"]["saved"]
        proof.close(f"next losses.{suffix}", got, want[: len(got)], within=1e-6)


def save_load(cluster: Cluster, proof: Proof) -> None:
    """A convolutional model predicts the same after ``.keras`` and ``.h5``, and trains on."""
    _survives(proof, _saved())


def _legacy() -> dict[str, Any]:
    import tensorflow as tf

    return {
        "tf.keras": tf.keras.Model.__module__.partition(".")[0],
        "version": training.keras().__version__,
        "trained": _trained(),
        "saved": _saved(),
    }


def legacy(cluster: Cluster, proof: Proof) -> None:
    """With ``TF_USE_LEGACY_KERAS=1``, ``tf.keras`` is tf-keras; it trains, saves and loads."""
    answer = fresh.call(_legacy, fresh.LEGACY_KERAS)
    proof.equal("tf.keras", answer["tf.keras"], "tf_keras")
    proof.equal("version", answer["version"], cluster.expect.components["tf-keras"])
    _descends(proof, answer["trained"])
    _survives(proof, answer["saved"])
