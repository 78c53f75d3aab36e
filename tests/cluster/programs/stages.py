"""``KerasEstimator`` and ``KerasModel`` as stages of a pipeline, on the cluster."""

import json
import math
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import BinaryClassificationEvaluator, MulticlassClassificationEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from sparkdl import RankFailed
from sparkdl.data import DataError
from sparkdl.estimator import KerasEstimator

SHARED = "/shared"


@keras.saving.register_keras_serializable("mine")
class Double(keras.layers.Layer):
    """A layer that only this program knows."""

    def call(self, x):
        return x * 2.0


def models_held(ids: pd.Series) -> pd.Series:
    """Tell which process this is and which models it holds, by their addresses."""
    import os

    from sparkdl.estimator import _predict

    held = f"{os.getpid()} {[id(model) for model in _predict._loaded.values()]}"
    return pd.Series([held] * len(ids))


def held(spark):
    """Return what the workers' processes hold, one of them for each of two task slots."""
    probe = f.pandas_udf(models_held, "string")
    found = spark.range(0, 40, 1, 4).select(probe("id").alias("held")).distinct().collect()
    return sorted(row.held for row in found)


def regression(spark):
    rows = spark.range(0, 400, 1, 3).select(
        "id", (f.rand(1) - 0.5).alias("a"), (f.rand(2) - 0.5).alias("b")
    )
    rows = rows.withColumn("label", 2 * f.col("a") - f.col("b") + 0.25).cache()
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), Double(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1), "mse", metrics=["mae"])
    estimator = KerasEstimator(
        model=model, np=2, epochs=15, batchSize=16, validationSplit=0.25, seed=3
    )
    pipeline = Pipeline(
        stages=[VectorAssembler(inputCols=["a", "b"], outputCol="features"), estimator]
    )
    trained = pipeline.fit(rows)
    stage = trained.stages[-1]
    scored = trained.transform(rows).select("id", "label", "prediction")
    kernel, bias = stage.to_keras().get_weights()
    off = f.abs(
        f.col("prediction")
        - 2 * (f.col("a") * float(kernel[0, 0]) + f.col("b") * float(kernel[1, 0]))
        - float(bias[0])
    )
    worst = (
        trained.transform(rows)
        .select(f.max(off), f.max(f.abs(f.col("label") - f.col("prediction"))))
        .first()
    )
    held_first = held(spark)
    trained.transform(rows.repartition(6)).agg(f.sum("prediction")).first()
    held_then = held(spark)
    folder = tempfile.mkdtemp(dir=SHARED)
    trained.save(f"file://{folder}/trained")
    pipeline.save(f"file://{folder}/pipeline")
    loaded = PipelineModel.load(f"file://{folder}/trained")
    again = Pipeline.load(f"file://{folder}/pipeline").getStages()[-1]
    return {
        "held": held_first,
        "held on": held_then,
        "weights": [*kernel[:, 0].round(2).tolist(), *bias.round(2).tolist()],
        "history": stage.history,
        "from the model's own": worst[0],
        "from the label": worst[1],
        "type": scored.schema["prediction"].dataType.simpleString(),
        "loaded differs": loaded.transform(rows)
        .select("id", "label", "prediction")
        .exceptAll(scored)
        .count(),
        "loaded history": loaded.stages[-1].history == stage.history,
        "loaded": type(loaded.stages[-1]).__module__ + "." + type(loaded.stages[-1]).__name__,
        "again": [
            again.getOrDefault("epochs"),
            again.getOrDefault("np"),
            again.uid == estimator.uid,
        ],
        "again trains": sorted(
            again.fit(
                VectorAssembler(inputCols=["a", "b"], outputCol="features").transform(rows),
                {again.epochs: 1},
            ).history
        ),
        "for Keras alone": Path(folder, f"trained/stages/1_{stage.uid}/model.keras").is_file(),
    }


def classification(spark):
    """Two inputs by name, weights, a vector of scores, the validation rows by a column."""
    rows = spark.range(0, 300, 1, 2).select(
        (f.rand(1) - 0.5).alias("left"),
        f.array(f.rand(2) - 0.5, f.rand(3) - 0.5).alias("right"),
        (f.col("id") % 5 == 0).alias("held"),
    )
    rows = rows.withColumn(
        "kind", f.when(f.col("left") > 0, 2).when(f.col("right")[0] > 0, 1).otherwise(0)
    )
    rows = rows.withColumn("weight", f.lit(1.0)).cache()
    keras.utils.set_random_seed(2)
    left, right = keras.Input((), name="left"), keras.Input((2,), name="right")
    column = keras.layers.Reshape((1,))(left)
    both = keras.layers.Concatenate()([column, right])
    scores = keras.layers.Dense(3, activation="softmax")(
        keras.layers.Dense(16, activation="relu")(both)
    )
    model = keras.Model([left, right], scores)
    model.compile(
        keras.optimizers.Adam(0.05),
        "sparse_categorical_crossentropy",
        weighted_metrics=["accuracy"],
    )
    trained = KerasEstimator(
        model=model, np=2, epochs=25, batchSize=16, inputCols=["left", "right"], labelCol="kind",
        weightCol="weight", validationCol="held", lastBatch="wrap", predictionCol="class",
    ).fit(rows)  # fmt: skip
    scored = trained.transform(rows)
    scores = vector_to_array("probability")
    accuracy = MulticlassClassificationEvaluator(labelCol="kind", predictionCol="class")
    return {
        "types": {
            name: scored.schema[name].dataType.simpleString()
            for name in ("class", "probability", "rawPrediction")
        },
        "right": accuracy.setMetricName("accuracy").evaluate(scored),
        "calls": scored._jdf.queryExecution().executedPlan().toString().count("ArrowEvalPython"),
        "sum": scored.select(
            f.max(f.abs(f.aggregate(scores, f.lit(0.0), lambda a, x: a + x) - 1))
        ).first()[0],
        "metrics": sorted(trained.history),
    }


def logits(spark):
    """One number for two classes, not yet a probability; and rows without numbers."""
    rows = spark.range(0, 200, 1, 2).select(f.array(f.rand(1) - 0.5).alias("features"))
    rows = rows.withColumn("label", (f.col("features")[0] > 0).cast("int")).cache()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1), keras.losses.BinaryCrossentropy(from_logits=True))
    trained = KerasEstimator(model=model, epochs=5, batchSize=16, rawPredictionCol="raw").fit(rows)
    scored = trained.transform(rows)
    first = scored.first()
    odd = spark.createDataFrame([([math.nan],), ([1.0],)], "features array<double>")
    empty = spark.createDataFrame([([1.0],), ([None],)], "features array<double>")
    try:
        trained.save("file:///tmp/not-shared")
        saved = "saved"
    except DataError as error:
        saved = str(error)
    found = {
        "classes": trained.numClasses,
        "area": BinaryClassificationEvaluator(rawPredictionCol="raw").evaluate(scored),
        "margin": first["raw"][0] + first["raw"][1],
        "probability": first["probability"][1] - 1 / (1 + math.exp(-first["raw"][1])),
        "class": first["prediction"] == float(first["raw"][1] > 0),
        "nan": [math.isnan(row.prediction) for row in trained.transform(odd).collect()],
        "not shared": saved,
    }
    # Last: Spark stops the other tasks of a job that failed, and their workers with them.
    try:
        said = trained.transform(empty).collect()
    except Exception as error:
        said = next(line for line in str(error).splitlines() if "DataError:" in line)
    return {**found, "null": said}


def choosing(spark):
    """Spark's CrossValidator chooses a pipeline's classifier: one that was trained long enough."""
    rows = spark.range(0, 200, 1, 2).select((f.rand(1) - 0.5).alias("a"))
    rows = rows.withColumn("label", (f.col("a") > 0).cast("int")).cache()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.layers[-1].set_weights([np.array([[-0.5]]), np.zeros(1)])  # all of it is wrong
    model.compile(keras.optimizers.Adam(0.01), keras.losses.BinaryCrossentropy(from_logits=True))
    estimator = KerasEstimator(model=model, np=2, batchSize=16, rawPredictionCol="raw")
    grid = ParamGridBuilder().addGrid(estimator.epochs, [1, 40]).build()
    evaluator = BinaryClassificationEvaluator(rawPredictionCol="raw")
    assembler = VectorAssembler(inputCols=["a"], outputCol="features")
    chosen = CrossValidator(
        estimator=Pipeline(stages=[assembler, estimator]),
        estimatorParamMaps=grid, evaluator=evaluator, numFolds=2, seed=1,
    ).fit(rows)  # fmt: skip
    return {
        "areas": chosen.avgMetrics,
        "epochs": len(chosen.bestModel.stages[-1].history["loss"]),
        "area": evaluator.evaluate(chosen.transform(rows)),
    }


def restart(spark):
    """A rank is killed in the middle of training, which goes on from the last epoch."""
    rows = spark.range(0, 200, 1, 2).select(f.array(f.rand(1), f.rand(2)).alias("features"))
    rows = rows.withColumn("label", f.col("features")[0] - f.col("features")[1]).cache()
    marker = Path(tempfile.mkdtemp(dir=SHARED), "killed")
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05), "mse")

    def killers():
        import os
        import signal

        import horovod.tensorflow as hvd

        class Killer(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == 2 and hvd.rank() == 1 and not marker.exists():
                    marker.touch()
                    os.kill(os.getpid(), signal.SIGKILL)

        return [Killer()]

    estimator = KerasEstimator(model=model, np=2, epochs=5, batchSize=20, seed=9)
    undisturbed = estimator.fit(rows)
    options = {"max_restarts": 1}
    killed = estimator.fit(rows, {estimator.callbacks: killers, estimator.runnerOptions: options})
    pairs = zip(undisturbed.to_keras().get_weights(), killed.to_keras().get_weights(), strict=True)
    return {
        "killed": marker.exists(),
        "epochs": [len(undisturbed.history["loss"]), len(killed.history["loss"])],
        "differ by": max(float(abs(a - b).max()) for a, b in pairs),
    }


def refusals(spark):
    said = {}
    rows = spark.range(10).select(
        f.array(f.col("id").cast("double")).alias("features"), f.col("id").alias("label")
    )

    def ask(name, action):
        try:
            action()
        except (DataError, RankFailed, TypeError, ValueError) as error:
            said[name] = f"{type(error).__name__}: {error}".splitlines()[0]

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    ask("not compiled", lambda: KerasEstimator(model=model))
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    unbuilt.compile("sgd", "mse")
    ask("not built", lambda: KerasEstimator(model=unbuilt))
    ask("no model", lambda: KerasEstimator().fit(rows))
    ask("no Keras", lambda: KerasEstimator(model="resnet"))
    model.compile("sgd", "mse")
    ask("column", lambda: KerasEstimator(model=model, np=2, labelCol="lable").fit(rows))
    ask("few rows", lambda: KerasEstimator(model=model, np=2, batchSize=8).fit(rows))
    ask("zero", lambda: KerasEstimator(model=model, np=0).fit(rows))
    said["left behind"] = [path.name for path in Path(SHARED).glob("sparkdl-*")]
    return said


def main():
    spark = SparkSession.builder.getOrCreate()
    parts = {
        "regression": regression,
        "classification": classification,
        "logits": logits,
        "choosing": choosing,
        "restart": restart,
        "refusals": refusals,
    }
    chosen = sys.argv[1:] or parts  # by name, to look at one alone
    print("RESULT", json.dumps({name: parts[name](spark) for name in chosen}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
