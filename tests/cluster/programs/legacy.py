"""An estimator with a model of Keras 2: tf-keras, where Keras itself is Keras 3."""

import json
import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"
try:
    import tf_keras as keras
except ImportError:
    import keras

from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from sparkdl.estimator import KerasEstimator


def main():
    spark = SparkSession.builder.getOrCreate()
    rows = spark.range(0, 400, 1, 2).select(f.array(f.rand(1), f.rand(2)).alias("features"))
    rows = rows.withColumn("label", 2 * f.col("features")[0] - f.col("features")[1]).cache()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    trained = KerasEstimator(model=model, np=2, epochs=20, batchSize=16).fit(rows)
    off = f.abs(f.col("prediction") - f.col("label"))
    found = {
        "version": keras.__version__,
        "package": type(trained.to_keras()).__module__.split(".")[0],
        "off": trained.transform(rows).select(f.max(off)).first()[0],
    }
    print("RESULT", json.dumps(found))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
