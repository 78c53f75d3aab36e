"""One small training problem, solved with Keras and, independently, with numpy."""

import importlib
import os
from typing import Any

RATE = 0.1
STEPS = 12
ROWS = 64


def data() -> tuple[Any, Any]:
    """Return features (64 by 3) and targets (64 by 1), the same ones at every call."""
    import numpy as np

    random = np.random.default_rng(21)
    x = random.normal(size=(ROWS, 3)).astype("float32")
    y = np.tanh(x @ np.array([[1.0], [-0.5], [2.0]])) + 0.05 * random.normal(size=(ROWS, 1))
    return x, y.astype("float32")


def start() -> list[Any]:
    """Return the weights that training starts from: of a hidden layer of 5 and of the output."""
    import numpy as np

    random = np.random.default_rng(22)
    shapes = [(3, 5), (5,), (5, 1), (1,)]
    return [random.normal(scale=0.5, size=shape).astype("float32") for shape in shapes]


def keras() -> Any:
    """Return the Keras of this process: Keras 2 or 3, and tf-keras where that is asked for."""
    if os.environ.get("TF_USE_LEGACY_KERAS") == "1":
        return importlib.import_module("tf_keras")
    return importlib.import_module("keras")


def variables(model: Any) -> list[Any]:
    """Return the TensorFlow variables of a model: Keras 3 has variables of its own around them."""
    import tensorflow as tf

    return [v if isinstance(v, tf.Variable) else v.value for v in model.variables]


def model(weights: list[Any]) -> Any:
    """Return the Keras model with these weights: tanh, then linear."""
    layers = keras().layers
    network = keras().Sequential([layers.Dense(5, activation="tanh"), layers.Dense(1)])
    network.build((None, 3))
    network.set_weights(weights)
    return network


def unbuilt(weights: list[Any]) -> Any:
    """Return the same model before its first batch, which makes its weights: these."""
    import tensorflow as tf

    def starts_as(values: Any) -> Any:
        return lambda shape, dtype=None, **_: tf.constant(values)

    w1, b1, w2, b2 = (starts_as(one) for one in weights)
    layers = keras().layers
    hidden = layers.Dense(5, activation="tanh", kernel_initializer=w1, bias_initializer=b1)
    return keras().Sequential([hidden, layers.Dense(1, kernel_initializer=w2, bias_initializer=b2)])


def own_step(plain: Any) -> Any:
    """Return a model of the same layers with a ``train_step`` that applies the gradients itself."""
    import tensorflow as tf

    # No annotations: a class within a function that is pickled does not bring their names along.
    class OwnStep(keras().Model):  # type: ignore[misc]
        def __init__(self):
            super().__init__()
            self.plain = plain

        def call(self, x):
            return self.plain(x)

        def train_step(self, rows):
            x, y = rows
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"loss": loss}

    return OwnStep()


def by_hand(steps: int = STEPS) -> list[Any]:
    """Return the weights after gradient descent on the whole batch, worked out with numpy."""
    import numpy as np

    x, y = (one.astype("float64") for one in data())
    w1, b1, w2, b2 = (one.astype("float64") for one in start())
    for _ in range(steps):
        hidden = np.tanh(x @ w1 + b1)
        slope = 2 / len(x) * (hidden @ w2 + b2 - y)
        back = slope @ w2.T * (1 - hidden**2)
        gradients = [x.T @ back, back.sum(0), hidden.T @ slope, slope.sum(0)]
        w1, b1, w2, b2 = (
            weight - RATE * gradient
            for weight, gradient in zip((w1, b1, w2, b2), gradients, strict=True)
        )
    return [w1, b1, w2, b2]
