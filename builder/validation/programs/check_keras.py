"""Keras: training is gradient descent, and a saved model is the same model."""

import tempfile
from pathlib import Path

from . import training
from .cluster import Cluster
from .harness import Proof


def fit(cluster: Cluster, proof: Proof) -> None:
    """``fit`` on the whole batch ends at the weights that numpy ends at, and learns."""
    import keras

    x, y = training.data()
    model = training.model(training.start())
    model.compile(keras.optimizers.SGD(training.RATE), loss="mse")
    history = model.fit(
        x, y, batch_size=len(x), epochs=training.STEPS, shuffle=False, verbose=0
    ).history["loss"]
    want = training.by_hand()
    for number, (got, right) in enumerate(zip(model.get_weights(), want, strict=True)):
        proof.close(f"weights.{number}", got, right, within=1e-5)
    proof.below("last loss over first", history[-1] / history[0], 0.5)


def save_load(cluster: Cluster, proof: Proof) -> None:
    """A convolutional model predicts the same after ``.keras`` and ``.h5``, and trains on."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(31)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 1)),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    x = np.random.default_rng(32).normal(size=(32, 8, 8, 1)).astype("float32")
    y = (x.mean(axis=(1, 2, 3)) > 0).astype("int32")
    model.fit(x, y, batch_size=16, epochs=1, verbose=0)
    before = model.predict(x, verbose=0)
    proof.close("probabilities", before.sum(axis=1), np.ones(32), within=1e-5)
    further = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("keras", "h5"):
            path = str(Path(folder, f"model.{suffix}"))
            model.save(path)
            loaded = keras.models.load_model(path)
            proof.close(f"predictions.{suffix}", loaded.predict(x, verbose=0), before, within=0)
            further.append(loaded.train_on_batch(x, y))
    # The optimizer's state came along too: the next step is the same.
    proof.close("next loss", further, [model.train_on_batch(x, y)] * 2, within=1e-6)
