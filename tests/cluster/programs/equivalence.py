"""Training on every worker together, against training on the whole batch in one process.

The rows come through ``sparkdl.data``, shuffled; the one process is given, step by step, what
all ranks were given together.
"""

import json
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from sparkdl import HorovodRunner
from sparkdl.data import shard_dataframe

EPOCHS, BATCH, ROWS = 3, 8, 120
CASES = ("sgd", "momentum", "adam", "loop")


def new_model(seed):
    """Return a model whose weights follow from ``seed`` alone."""
    import keras
    import numpy as np

    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(1)]
    )
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(scale=0.5, size=w.shape) for w in model.get_weights()])
    return model


def new_optimizer(case):
    import keras

    made = {
        "sgd": lambda: keras.optimizers.SGD(0.1),
        "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        "adam": lambda: keras.optimizers.Adam(0.02),
        "loop": lambda: keras.optimizers.SGD(0.1, momentum=0.5),
    }
    return made[case]()


def flat(model):
    return [float(x) for w in model.get_weights() for x in w.reshape(-1)]


def by_tape(model, optimizer, batches, wrap=lambda tape: tape):
    """Train with a loop of one's own."""
    import tensorflow as tf

    for batch in batches:
        with tf.GradientTape() as tape:
            error = model(batch["x"], training=True)[:, 0] - batch["y"]
            loss = tf.reduce_mean(tf.square(error))
        gradients = wrap(tape).gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))


def train(case, data):
    """One rank; all but rank 0 start from other weights, which the broadcast has to replace."""
    import horovod.tensorflow as hvd
    from horovod.tensorflow import keras as hvd_keras

    hvd.init()
    shard = data.shard(hvd.rank(), hvd.size(), batch_size=BATCH, seed=4)
    model = new_model(seed=hvd.rank())
    hvd.broadcast_variables(model.variables, root_rank=0)
    if case == "loop":
        batches = (b for epoch in range(EPOCHS) for b in shard.batches(epoch))
        by_tape(model, new_optimizer(case), batches, hvd.DistributedGradientTape)
    else:
        model.compile(hvd_keras.DistributedOptimizer(new_optimizer(case)), "mse")
        dataset = shard.dataset("x", "y", epochs=EPOCHS)
        model.fit(dataset, epochs=EPOCHS, steps_per_epoch=shard.steps, verbose=0)
    return hvd.allgather_object((hvd.rank(), flat(model)))


def whole_batches(data, ranks):
    """Yield, step by step, the rows of these ranks together."""
    import numpy as np

    shards = [data.shard(rank, 2, batch_size=BATCH, seed=4) for rank in ranks]
    for epoch in range(EPOCHS):
        for parts in zip(*(shard.batches(epoch) for shard in shards), strict=True):
            yield {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def alone(case, batches):
    model = new_model(seed=0)
    if case == "loop":
        by_tape(model, new_optimizer(case), batches)
    else:
        model.compile(new_optimizer(case), "mse")
        for batch in batches:
            model.train_on_batch(batch["x"], batch["y"])
    return flat(model)


def furthest(one, other):
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def main():
    spark = SparkSession.builder.getOrCreate()
    x = f.array(*(f.rand(seed) * 2 - 1 for seed in (1, 2, 3)))
    rows = spark.range(0, ROWS, 1, 3).select(x.alias("x"))
    rows = rows.withColumn("y", f.col("x")[0] - f.sin(3 * f.col("x")[1]) * f.col("x")[2])
    result = {}
    with shard_dataframe(rows, chunk_bytes=200) as data:
        for case in CASES:
            ranks = dict(HorovodRunner(np=2).run(train, case=case, data=data))
            result[case] = {
                "between ranks": furthest(ranks[0], ranks[1]),
                "from the whole batch": furthest(
                    ranks[0], alone(case, whole_batches(data, [0, 1]))
                ),
                "from half the batch": furthest(ranks[0], alone(case, whole_batches(data, [0]))),
                "from the start": furthest(ranks[0], flat(new_model(seed=0))),
            }
    import keras

    print("RESULT", json.dumps({"keras": keras.__version__, "cases": result}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
