"""TensorFlow on the driver and on every worker, against numpy."""

from collections.abc import Callable
from typing import Any

from .cluster import Cluster
from .harness import Proof


def _everywhere(cluster: Cluster, function: Callable[[], Any]) -> dict[str, Any]:
    return {cluster.expect.driver_host: function(), **cluster.on_workers(function)}


def _training_step() -> dict[str, Any]:
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(11)
    x, y, w = (random.normal(size=shape) for shape in ((16, 3), (16, 1), (3, 1)))
    weights = tf.Variable(w)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((tf.constant(x) @ weights - y) ** 2)
    gradient = tape.gradient(loss, weights)
    weights.assign_sub(0.1 * gradient)
    want = 2 / 16 * x.T @ (x @ w - y)
    return {
        "gradient": [gradient.numpy().tolist(), want.tolist()],
        "weights": [weights.numpy().tolist(), (w - 0.1 * want).tolist()],
    }


def gradient(cluster: Cluster, proof: Proof) -> None:
    """One step of gradient descent on a quadratic, whose gradient is known."""
    for host, answer in sorted(_everywhere(cluster, _training_step).items()):
        for name, (got, want) in answer.items():
            proof.close(f"{host}.{name}", got, want, within=1e-12)


def _compiled() -> dict[str, Any]:
    import tensorflow as tf

    def length(start: Any) -> Any:
        steps, n = tf.constant(0), start
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            steps += 1
        return steps

    # AutoGraph reads a function's source, which the workers do not have: a while_loop instead.
    def loop(start: Any) -> Any:
        def step(n: Any, steps: Any) -> Any:
            return tf.where(n % 2 == 0, n // 2, 3 * n + 1), steps + 1

        return tf.while_loop(lambda n, _: n != 1, step, [start, tf.constant(0)])[1]

    compiled = tf.function(loop, autograph=False)
    image = tf.reshape(tf.range(16.0), (1, 4, 4, 1))
    blurred = tf.function(tf.nn.conv2d, autograph=False)(
        image, tf.ones((3, 3, 1, 1)), strides=1, padding="VALID"
    )
    return {
        "loop": [int(compiled(tf.constant(27))), 111],
        "eager": [int(length(tf.constant(6))), 8],
        "convolution": [blurred[0, :, :, 0].numpy().tolist(), [[45.0, 54.0], [81.0, 90.0]]],
        "traces": [compiled.experimental_get_tracing_count(), 1],
    }


def function(cluster: Cluster, proof: Proof) -> None:
    """A compiled loop (Collatz from 27 takes 111 steps) and a convolution done by hand."""
    for host, answer in sorted(_everywhere(cluster, _compiled).items()):
        for name, (got, want) in answer.items():
            proof.close(f"{host}.{name}", got, want, within=1e-6)
