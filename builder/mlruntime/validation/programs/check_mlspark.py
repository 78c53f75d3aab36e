"""What the flavour ``ml`` adds to Spark: estimators that train on its workers."""

from typing import Any

from .cluster import Cluster
from .harness import Proof

_SEED = 41


def _step() -> tuple[Any, Any]:
    """Return points, and whether the second number of each is over a half."""
    import numpy as np

    x = np.random.default_rng(_SEED).uniform(size=(400, 4))
    return x, (x[:, 1] > 0.5).astype("float64")


def xgboost(cluster: Cluster, proof: Proof) -> None:
    """XGBoost's estimator for Spark trains on all workers, and finds the same."""
    from pyspark.ml.linalg import Vectors
    from xgboost.spark import SparkXGBClassifier

    x, y = _step()
    rows = [
        (Vectors.dense(point), float(label)) for point, label in zip(x.tolist(), y, strict=True)
    ]
    workers = cluster.expect.workers
    frame = cluster.spark.createDataFrame(rows, ["features", "label"]).repartition(workers)
    estimator = SparkXGBClassifier(num_workers=workers, n_estimators=10, max_depth=2)
    answers = estimator.fit(frame).transform(frame).select("label", "prediction").collect()
    proof.equal("rows", len(answers), len(rows))
    proof.equal("wrong", sum(row.label != row.prediction for row in answers), 0)
