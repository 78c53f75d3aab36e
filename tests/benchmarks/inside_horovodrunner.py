"""What the benchmark of ``HorovodRunner`` runs inside the containers; times are the host's."""

import json
import os
import sys
import time
from typing import Any

WIDTH, BATCH, STEPS, WARM_UP = 512, 256, 150, 20


def first_allreduce() -> float:
    """Return when this rank's first allreduce was done."""
    import horovod.tensorflow as hvd
    import tensorflow as tf

    hvd.init()
    hvd.allreduce(tf.ones([4]), op=hvd.Sum).numpy()
    return time.time()


def throughput(steps: int = STEPS, warm_up: int = WARM_UP, batch: int = BATCH) -> float:
    """Return the steps per second of a compute-bound training on this rank."""
    import horovod.tensorflow as hvd
    import tensorflow as tf

    hvd.init()
    layers = [tf.keras.layers.Dense(WIDTH, activation="relu") for _ in range(4)]
    model = tf.keras.Sequential([*layers, tf.keras.layers.Dense(1)])
    optimizer = tf.keras.optimizers.SGD(0.001)
    x, y = tf.random.normal([batch, WIDTH]), tf.random.normal([batch, 1])
    model(x)

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        tape = hvd.DistributedGradientTape(tape)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    for _ in range(warm_up):
        step()
    began = time.time()
    for _ in range(steps):
        step()
    return steps / (time.time() - began)


def times(rounds: int, np: int) -> list[float]:
    """Return the seconds from ``run()`` to the first allreduce, the cold one first."""
    from sparkdl import HorovodRunner

    return [-time.time() + HorovodRunner(np=np).run(first_allreduce) for _ in range(rounds)]


def times_of_horovod_spark(rounds: int, np: int) -> list[float]:
    """Return the same for ``horovod.spark.run``."""
    import horovod.spark

    return [
        -time.time() + horovod.spark.run(first_allreduce, num_proc=np, use_gloo=True, verbose=0)[0]
        for _ in range(rounds)
    ]


def local_throughput(np: int) -> float:
    """Return rank 0's steps per second, in processes on the driver's host."""
    from sparkdl import HorovodRunner

    return float(HorovodRunner(np=-np).options(threads=1).run(throughput))


def spark_throughput(np: int, steps: int, warm_up: int, batch: int) -> float:
    """Return rank 0's steps per second, on the cluster."""
    from sparkdl import HorovodRunner

    work = {"steps": steps, "warm_up": warm_up, "batch": batch}
    return float(HorovodRunner(np=np).options(threads=1).run(throughput, **work))


if __name__ == "__main__":
    # Started by horovodrun.
    value = {"first": first_allreduce, "throughput": throughput}[sys.argv[1]]()
    if os.environ["HOROVOD_RANK"] == "0":
        print("\n@@" + json.dumps(value), flush=True)
