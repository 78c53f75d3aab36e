"""Callbacks that decide by metrics, in ``KerasEstimator`` and in a ``main``, on two ranks."""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import keras
from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from sparkdl import HorovodRunner
from sparkdl.estimator import KerasEstimator

EPOCHS, INTERRUPTED = 5, 3


def together(spark):
    """Callbacks that decide by metrics, metrics of all kinds, and models of strings."""
    x = f.array(f.rand(1), f.rand(2))
    rows = spark.range(0, 200, 1, 2).select(x.alias("features"))
    noisy = 2 * f.col("features")[0] - f.col("features")[1] + f.rand(3) / 2
    rows = rows.withColumn("label", noisy).cache()

    def trained(frame, callbacks, optimizer="adam", outputs=1, loss="mse", metrics=(), **options):
        keras.utils.set_random_seed(1)
        last = "softmax" if outputs > 1 else None
        layers = [keras.Input((2,)), keras.layers.Dense(outputs, activation=last)]
        model = keras.Sequential(layers)
        model.compile(optimizer, loss, metrics=list(metrics))
        return KerasEstimator(model=model, batchSize=8, callbacks=callbacks, **options).fit(frame)

    def stopping():
        return [
            keras.callbacks.EarlyStopping("val_loss", min_delta=0.0005, restore_best_weights=True),
            keras.callbacks.ReduceLROnPlateau("loss", patience=1, factor=0.5, min_delta=0.01),
        ]

    def own():
        import horovod.tensorflow as hvd

        class Own(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if hvd.rank() == 1:
                    logs["mine"] = 3.0
                    self.model.stop_training = epoch == 1

        return [Own()]

    stopped = trained(
        rows, stopping, keras.optimizers.Adam(0.05), np=2, epochs=80, validationSplit=0.2
    )
    optimizer = stopped.to_keras().optimizer
    epochs = len(stopped.history["loss"])
    classes = rows.withColumn("label", f.array(f.lit(1.0), f.lit(0.0)))
    vector = trained(
        classes, own, outputs=2, loss="categorical_crossentropy", np=2, epochs=4,
        metrics=[keras.metrics.F1Score()],
    )  # fmt: skip
    label = f.when(f.rand(5) < 0.01, float("nan")).otherwise(f.col("label"))
    broken = trained(
        rows.withColumn("label", label), lambda: [keras.callbacks.TerminateOnNaN()], np=2, epochs=5
    )
    return {
        "epochs": epochs,
        "steps": int(optimizer.iterations.numpy()),
        "learning rate": float(optimizer.learning_rate.numpy()),
        "vector": [len(vector.history["f1_score"]), len(vector.history["f1_score"][0])],
        "of one rank": vector.history["mine"],
        "broken": len(broken.history["loss"]),
        "by strings": sorted(trained(rows, None, "sgd", np=1).history),
    }


def interrupted(folder, epoch_to_end_in):
    """Train on one rank of several; tell the weights, how far it got and what was written."""
    import horovod.tensorflow.keras as hvd
    import keras
    import numpy as np
    from horovod.tensorflow import allgather_object
    from sparkdl.horovod.tensorflow.keras import collective_callbacks

    class End(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == epoch_to_end_in:
                raise KeyboardInterrupt

    hvd.init()
    x = np.random.default_rng(hvd.rank()).normal(size=(64, 3)).astype("float32")
    y = x @ [1.0, -2.0, 0.5]
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.Adam(0.1)), "mse")
    # Each rank names files of its own: only those of rank 0 come to be.
    callbacks = [
        End(),
        keras.callbacks.BackupAndRestore(f"{folder}/backup{hvd.rank()}", delete_checkpoint=False),
        keras.callbacks.ModelCheckpoint(
            f"{folder}/best{hvd.rank()}.keras", monitor="loss", save_best_only=True
        ),
    ]
    try:
        done = model.fit(
            x, y, batch_size=16, epochs=EPOCHS, callbacks=collective_callbacks(callbacks), verbose=0
        )
        epochs = len(done.history["loss"])
    except KeyboardInterrupt:
        epochs = None
    weights = b"".join(one.tobytes() for one in model.get_weights())
    steps = int(model.optimizer.iterations.numpy())
    ranks = allgather_object((hashlib.sha256(weights).hexdigest(), epochs, steps))
    return {"weights": len({rank[0] for rank in ranks}), "ranks": [rank[1:] for rank in ranks]}


def resumed(spark):
    """``BackupAndRestore`` goes on, on all ranks, from what rank 0 has."""
    folder = tempfile.mkdtemp()
    first = HorovodRunner(np=-2).run(interrupted, folder=folder, epoch_to_end_in=INTERRUPTED)
    again = HorovodRunner(np=-2).run(interrupted, folder=folder, epoch_to_end_in=EPOCHS)
    return {
        "first": first,
        "again": again,
        "files": sorted(path.name for path in Path(folder).iterdir()),
    }


def main():
    spark = SparkSession.builder.getOrCreate()
    parts = {"together": together, "resumed": resumed}
    chosen = sys.argv[1:] or parts  # by name, to look at one alone
    print("RESULT", json.dumps({name: parts[name](spark) for name in chosen}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
