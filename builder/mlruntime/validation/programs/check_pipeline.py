"""All of it together: ETL, Parquet, distributed training, predictions, evaluation."""

from typing import Any

from . import training
from .cluster import Cluster
from .harness import Proof

_CUSTOMERS = 400
_STEPS = 60
_RATE = 1.0


def _events(spark: Any) -> Any:
    """Return raw events, some of them broken: five per customer, one of the five unusable."""
    from pyspark.sql import functions as f

    customer = (f.col("id") % _CUSTOMERS).alias("customer")
    turn = f.floor(f.col("id") / _CUSTOMERS)
    amount = ((f.col("id") * 7919) % 1009) / 1009.0 - 0.5
    visits = ((f.col("id") * 104729) % 997) / 997.0 - 0.5
    broken = (turn == 4) & (f.col("id") % 2 == 0)
    return spark.range(5 * _CUSTOMERS).select(
        customer,
        f.when(broken, None).otherwise(amount).alias("amount"),
        f.when((turn == 4) & ~broken, f.lit("n/a")).otherwise(visits.cast("string")).alias("text"),
    )


def _features() -> tuple[Any, Any]:
    """Return what the ETL has to arrive at, by numpy: features by customer, and labels."""
    import numpy as np

    ids = np.arange(4 * _CUSTOMERS).reshape(4, _CUSTOMERS)
    amount = ((ids * 7919) % 1009 / 1009.0 - 0.5).mean(axis=0)
    visits = ((ids * 104729) % 997 / 997.0 - 0.5).mean(axis=0)
    x = np.column_stack([amount, visits]) * 4
    return x, (2 * x[:, 0] - x[:, 1] > 0.1).astype(float)


def _etl(spark: Any, path: str) -> None:
    from pyspark.sql import functions as f

    clean = _events(spark).withColumn("visits", f.expr("try_cast(text as double)"))
    frame = (
        clean.dropna(subset=["amount", "visits"])
        .groupBy("customer")
        .agg((f.avg("amount") * 4).alias("a"), (f.avg("visits") * 4).alias("b"))
        .withColumn("label", (2 * f.col("a") - f.col("b") > 0.1).cast("double"))
    )
    frame.repartition(2, "customer").write.mode("overwrite").parquet(path)


def _train(path: str, steps: int, rate: float) -> dict[str, Any]:
    """Train a logistic model on this rank's rows of the Parquet files."""
    import horovod.tensorflow.keras as hvd
    import keras
    import pandas as pd
    from horovod.tensorflow import broadcast_variables

    hvd.init()
    rows = pd.read_parquet(path).sort_values("customer").iloc[hvd.rank() :: hvd.size()]
    x, y = rows[["a", "b"]].to_numpy("float32"), rows["label"].to_numpy("float32")
    model = keras.Sequential([keras.layers.Dense(1, activation="sigmoid")])
    model.build((None, 2))
    model.set_weights([one * 0 + hvd.rank() for one in model.get_weights()])
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(rate))
    model.compile(optimizer, loss="binary_crossentropy")
    broadcast_variables(training.variables(model), root_rank=0)
    model.fit(x, y, batch_size=len(x), epochs=steps, shuffle=False, verbose=0)
    return {"weights": model.get_weights(), "rows": len(rows), "size": hvd.size()}


def _by_hand(x: Any, y: Any) -> Any:
    """Return weights and bias after gradient descent on all rows."""
    import numpy as np

    design, weights = np.column_stack([x, np.ones(len(x))]), np.zeros(3)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-design @ weights))
        weights -= _RATE * design.T @ (p - y) / len(x)
    return weights


def _predict(frame: Any, weights: Any) -> Any:
    """Return customer and score, computed by Keras on the workers."""

    # RDD functions run in the Python workers that have just trained; SQL's pandas functions get
    # workers of their own, which would have to import TensorFlow again.
    def score(rows: Any) -> Any:
        import keras
        import numpy as np

        rows = list(rows)
        if not rows:
            return iter([])
        model = keras.Sequential([keras.layers.Dense(1, activation="sigmoid")])
        model.build((None, 2))
        model.set_weights(weights)
        scores = model(np.array([(row.a, row.b) for row in rows], "float32")).numpy()[:, 0]
        return zip((row.customer for row in rows), map(float, scores), strict=True)

    scored = frame.select("customer", "a", "b").rdd.mapPartitions(score)
    return scored.toDF("customer long, score double")


def _area(scores: Any, labels: Any) -> float:
    """Return the area under the ROC curve: the share of pairs in the right order."""
    good, bad = scores[labels == 1], scores[labels == 0]
    ahead = (good[:, None] > bad[None, :]).sum() + 0.5 * (good[:, None] == bad[None, :]).sum()
    return float(ahead / (len(good) * len(bad)))


def end_to_end(cluster: Cluster, proof: Proof) -> None:
    """Spark ETL to Parquet, Keras through HorovodRunner, scores joined back, MLlib's verdict."""
    import numpy as np
    from pyspark.ml.evaluation import BinaryClassificationEvaluator
    from sparkdl import HorovodRunner

    spark, n = cluster.spark, len(cluster.expect.worker_hosts)
    path = f"{cluster.expect.shared}/check-pipeline"
    _etl(spark, path)
    table = spark.read.parquet(path)
    x, y = _features()
    counted = table.selectExpr("count(*)", "sum(a)", "sum(b)", "sum(label)").first()
    want = [_CUSTOMERS, x[:, 0].sum(), x[:, 1].sum(), y.sum()]
    proof.close("table", list(counted), want, within=1e-9)
    trained = HorovodRunner(np=n).run(_train, path=path, steps=_STEPS, rate=_RATE)
    proof.equal("shares", [trained["size"], trained["rows"]], [n, -(-_CUSTOMERS // n)])
    kernel, bias = trained["weights"]
    by_hand = _by_hand(x, y)
    proof.close("weights", [*kernel[:, 0], *bias], by_hand, within=1e-3)
    scored = table.join(_predict(table, trained["weights"]), "customer").cache()
    rows = scored.select("customer", "score", "label").orderBy("customer").toPandas()
    p = 1 / (1 + np.exp(-(x @ by_hand[:2] + by_hand[2])))
    proof.close("scores", rows["score"].to_numpy(), p, within=1e-3)
    evaluator = BinaryClassificationEvaluator(rawPredictionCol="score", labelCol="label")
    area = evaluator.evaluate(scored)
    proof.close("area", area, _area(rows["score"].to_numpy(), y), within=1e-9)
    proof.above("area", area, 0.99)
