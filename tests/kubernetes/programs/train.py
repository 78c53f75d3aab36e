"""Gradient descent of one weight on all rows, dealt out to ranks; prints what each rank has."""

import json
import time

from pyspark.sql import SparkSession
from sparkdl import HorovodRunner

STEPS, RATE = 3, 0.05
ROWS = [(1.0, 3.0), (2.0, 5.0), (3.0, 11.0), (4.0, 11.0)]


def train(rows):
    import os
    import socket

    import horovod.tensorflow.keras as hvd
    import keras
    import numpy as np

    hvd.init()
    own = np.array(rows[hvd.rank() :: hvd.size()])
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(RATE))
    model.compile(optimizer, "mse", run_eagerly=True)
    model.fit(own[:, :1], own[:, 1:], batch_size=len(own), epochs=STEPS, verbose=0)
    weight = float(model.get_weights()[0][0, 0])
    told = {"rank": hvd.rank(), "host": socket.gethostname(), "uid": os.getuid(), "weight": weight}
    import horovod.tensorflow as everybody

    return everybody.allgather_object(told)


def descended(rows):
    """Return what the same descent in one process ends at."""
    weight = 0.0
    for _ in range(STEPS):
        weight -= RATE * sum(2 * (weight * x - y) * x for x, y in rows) / len(rows)
    return weight


begun = time.monotonic()
spark = SparkSession.builder.getOrCreate()
executors = spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1
count = spark.sparkContext.parallelize(range(100), 2).sum()
first, at = time.monotonic() - begun, time.time()
ranks = HorovodRunner(np=2).run(train, rows=ROWS)
told = {
    "count": count,
    "executors at first": executors,
    "ranks": ranks,
    "expected": descended(ROWS),
}
conf = spark.sparkContext.getConf()
told["arrow"] = spark.conf.get("spark.sql.execution.arrow.pyspark.enabled")
told["authenticated"] = conf.get("spark.authenticate", "false")
told["first task s"], told["all s"] = round(first, 1), round(time.monotonic() - begun, 1)
told["first task at"] = at
print("RESULT " + json.dumps(told), flush=True)
spark.stop()
