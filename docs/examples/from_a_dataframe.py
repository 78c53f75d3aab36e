from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from sparkdl import HorovodRunner
from sparkdl.data import shard_dataframe


def train(data, epochs):
    import horovod.tensorflow.keras as hvd
    import keras

    hvd.init()
    shard = data.shard(hvd.rank(), hvd.size(), batch_size=32, seed=1)
    held = data.validation.shard(hvd.rank(), hvd.size(), batch_size=32, shuffle=False, last="keep")
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.5)), "mse")
    model.fit(
        shard.dataset("x", "y", epochs=epochs),
        epochs=epochs,
        steps_per_epoch=shard.steps,
        validation_data=held.dataset("x", "y"),
        validation_steps=held.steps,
        verbose=0,
    )
    return {"weights": model.get_weights()[0][:, 0].round(2).tolist(), "ranks": hvd.size()}


spark = SparkSession.builder.getOrCreate()
frame = spark.range(5000).select((f.rand(1) - 0.5).alias("a"), (f.rand(2) - 0.5).alias("b"))
frame = frame.select(f.array("a", "b").alias("x"), (2 * f.col("a") - f.col("b")).alias("y"))
with shard_dataframe(frame, ["x", "y"], validation=0.2) as data:
    print(HorovodRunner(np=2).run(train, data=data, epochs=3))
