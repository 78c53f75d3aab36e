"""What the benchmark of MLlib runs inside the containers: a workload, on data made from a seed.

Both sides get the same rows: the data come from ``rand`` with a seed, over partitions whose number
does not depend on the cluster.
"""

import time
from collections.abc import Callable
from typing import Any

SEED, PARTITIONS = 20181113, 4
# How many times the rows of the smallest data.
SCALE = {"small": 1, "medium": 4, "large": 16}
Result = list[float]
# A workload: makes its data (not timed) and returns what is to be timed.
Workload = Callable[[int], Callable[[], Result]]
_ready: dict[tuple[str, str], Callable[[], Result]] = {}


def run(workload: str, size: str) -> dict[str, Any]:
    """Run a workload once; return its seconds and numbers that say what came out."""
    work = _ready.get((workload, size))
    if work is None:
        _ready.clear()
        _session().catalog.clearCache()
        work = _ready[workload, size] = WORKLOADS[workload](SCALE[size])
    began = time.perf_counter()
    result = work()
    return {"seconds": time.perf_counter() - began, "result": result}


def _session() -> Any:
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


def _kept(frame: Any) -> Any:
    frame = frame.cache()
    frame.count()
    return frame


def _points(rows: int, width: int) -> Any:
    """Return rows with a vector ``features`` and ``signal``, which depends on it and on noise."""
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import functions as f

    values = [f.randn(SEED + n) for n in range(width)]
    frame = _session().range(rows, numPartitions=PARTITIONS)
    frame = frame.select("id", f.array(*values).alias("values"))
    signal = sum(f.col("values")[n] * ((-1) ** n / (1 + n % 7)) for n in range(min(width, 20)))
    return frame.select(
        "id",
        array_to_vector("values").alias("features"),
        (signal + 0.5 * f.randn(SEED - 1)).alias("signal"),
    )


def _classes(rows: int, width: int, classes: int) -> Any:
    from pyspark.sql import functions as f

    label = f.when(f.col("signal") > 0, 1.0).otherwise(0.0)
    if classes > 2:
        label = f.least(f.greatest(f.floor(f.col("signal") * 2 + classes / 2), f.lit(0)),
                        f.lit(classes - 1)).cast("double")  # fmt: skip
    return _kept(_points(rows, width).select("features", label.alias("label")))


def _linear(scale: int) -> Callable[[], Result]:
    from pyspark.ml.regression import LinearRegression

    data = _kept(_points(12_000 * scale, 150).withColumnRenamed("signal", "label"))
    fit = LinearRegression(maxIter=20, regParam=0.01, solver="l-bfgs").fit
    return lambda: [float(x) for x in fit(data).coefficients[:10]]


def _logistic(scale: int) -> Callable[[], Result]:
    from pyspark.ml.classification import LogisticRegression

    data = _classes(12_000 * scale, 150, 2)
    fit = LogisticRegression(maxIter=20, regParam=0.01).fit
    return lambda: [float(x) for x in fit(data).coefficients[:10]]


def _multinomial(scale: int) -> Callable[[], Result]:
    from pyspark.ml.classification import LogisticRegression

    data = _classes(8_000 * scale, 100, 10)
    fit = LogisticRegression(maxIter=15, regParam=0.01, family="multinomial").fit
    return lambda: [float(x) for x in fit(data).coefficientMatrix.toArray()[:, :3].ravel()]


def _forest(scale: int) -> Callable[[], Result]:
    from pyspark.ml.classification import RandomForestClassifier

    data = _classes(8_000 * scale, 30, 2)
    fit = RandomForestClassifier(numTrees=20, maxDepth=7, seed=SEED).fit
    return lambda: [float(x) for x in fit(data).featureImportances.toArray()]


def _boosted(scale: int) -> Callable[[], Result]:
    from pyspark.ml.regression import GBTRegressor

    data = _kept(_points(6_000 * scale, 20).withColumnRenamed("signal", "label"))
    fit = GBTRegressor(maxIter=8, maxDepth=4, seed=SEED).fit
    return lambda: [float(x) for x in fit(data).featureImportances.toArray()]


def _kmeans(scale: int) -> Callable[[], Result]:
    from pyspark.ml.clustering import KMeans

    data = _kept(_points(12_000 * scale, 60))
    fit = KMeans(k=20, maxIter=15, initMode="random", tol=0.0, seed=SEED).fit
    return lambda: [float(fit(data).summary.trainingCost)]


def _als(scale: int) -> Callable[[], Result]:
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import functions as f

    ratings = _session().range(30_000 * scale, numPartitions=PARTITIONS).select(
        (f.rand(SEED) * 2_000).cast("int").alias("user"),
        (f.rand(SEED + 1) * 500).cast("int").alias("item"),
        (f.rand(SEED + 2) * 4 + 1).cast("float").alias("rating"),
    )  # fmt: skip
    data = _kept(ratings.dropDuplicates(["user", "item"]).coalesce(PARTITIONS))
    fit = ALS(rank=40, maxIter=5, numUserBlocks=PARTITIONS, numItemBlocks=PARTITIONS, seed=SEED).fit

    def work() -> Result:
        guessed = fit(data).transform(data)
        error = guessed.select(f.avg((f.col("prediction") - f.col("rating")) ** 2)).first()
        return [float(error[0])]

    return work


def _pca(scale: int) -> Callable[[], Result]:
    from pyspark.ml.feature import PCA

    data = _kept(_points(4_000 * scale, 300))
    fit = PCA(k=10, inputCol="features", outputCol="main").fit
    return lambda: [float(x) for x in fit(data).explainedVariance]


def _mixture(scale: int) -> Callable[[], Result]:
    from pyspark.ml.clustering import GaussianMixture

    data = _kept(_points(5_000 * scale, 30))
    fit = GaussianMixture(k=4, maxIter=10, tol=0.0, seed=SEED).fit
    return lambda: [float(fit(data).summary.logLikelihood)]


def _words(scale: int) -> Callable[[], Result]:
    from pyspark.ml.feature import Word2Vec
    from pyspark.sql import functions as f

    word = f.format_string("w%d", (f.rand(SEED) * f.rand(SEED + 1) * 2_000).cast("int"))
    flat = _session().range(60_000 * scale, numPartitions=PARTITIONS).select("id", word.alias("w"))
    line = f.sort_array(f.collect_list(f.struct("id", "w")))["w"].alias("text")
    data = _kept(flat.groupBy((f.col("id") / 20).cast("long").alias("n")).agg(line)
                 .orderBy("n").coalesce(1))  # fmt: skip
    fit = Word2Vec(vectorSize=100, minCount=5, maxIter=1, numPartitions=1, seed=SEED,
                   inputCol="text", outputCol="vector").fit  # fmt: skip
    return lambda: [float(fit(data).getVectors().count())]


def _itemsets(scale: int) -> Callable[[], Result]:
    from pyspark.ml.fpm import FPGrowth
    from pyspark.sql import functions as f

    item = [(f.rand(SEED + n) * f.rand(SEED - n) * 200).cast("int") for n in range(12)]
    rows = _session().range(10_000 * scale, numPartitions=PARTITIONS)
    data = _kept(rows.select(f.array_distinct(f.array(*item)).alias("items")))
    fit = FPGrowth(minSupport=0.005, minConfidence=0.3, numPartitions=PARTITIONS).fit
    return lambda: [float(fit(data).freqItemsets.count())]


def _sales(scale: int) -> Any:
    from pyspark.sql import functions as f

    return _kept(_session().range(250_000 * scale, numPartitions=PARTITIONS).select(
        "id",
        (f.rand(SEED) * 5_000).cast("int").alias("shop"),
        (f.rand(SEED + 1) * 365).cast("int").alias("day"),
        f.round(f.rand(SEED + 2) * 100, 2).alias("price"),
    ))  # fmt: skip


def _join(scale: int) -> Callable[[], Result]:
    from pyspark.sql import functions as f

    sales = _sales(scale)
    shops = sales.groupBy("shop", "day").agg(f.max("price").alias("most"))
    shops = _kept(shops.coalesce(PARTITIONS))

    def work() -> Result:
        joined = sales.hint("merge").join(shops, ["shop", "day"])
        share = joined.groupBy("shop").agg(f.sum(f.col("price") / f.col("most")).alias("s"))
        return [float(share.agg(f.sum("s")).first()[0])]

    return work


def _aggregate(scale: int) -> Callable[[], Result]:
    from pyspark.sql import functions as f

    sales = _sales(scale)

    def work() -> Result:
        found = sales.groupBy("shop", "day").agg(f.sum("price").alias("p"), f.count("*"))
        return [float(found.agg(f.avg("p")).first()[0])]

    return work


def _window(scale: int) -> Callable[[], Result]:
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    sales = _sales(scale)
    over = Window.partitionBy("shop").orderBy("day", "id").rowsBetween(-6, 0)

    def work() -> Result:
        return [
            float(sales.select(f.avg("price").over(over).alias("m")).agg(f.sum("m")).first()[0])
        ]

    return work


def _parquet(scale: int) -> Callable[[], Result]:
    from pyspark.sql import functions as f

    sales = _sales(scale)

    def work() -> Result:
        sales.write.mode("overwrite").parquet("/shared/sales.parquet")
        back = _session().read.parquet("/shared/sales.parquet")
        return [float(back.where("price > 50").agg(f.sum("price")).first()[0])]

    return work


def _pandas(scale: int) -> Callable[[], Result]:
    import pandas as pd
    from pyspark.sql import functions as f

    sales = _sales(scale)

    def twice(values: pd.Series) -> pd.Series:
        return values.rank(pct=True) * 2

    udf = f.pandas_udf(twice, "double")

    def work() -> Result:
        return [float(sales.select(f.sum(udf("price"))).first()[0])]

    return work


def _to_pandas(scale: int) -> Callable[[], Result]:
    sales = _sales(scale)
    return lambda: [float(sales.toPandas()["price"].sum())]


WORKLOADS: dict[str, Workload] = {
    "linear regression": _linear,
    "logistic regression, binary": _logistic,
    "logistic regression, multinomial": _multinomial,
    "random forest": _forest,
    "gradient-boosted trees": _boosted,
    "k-means": _kmeans,
    "ALS": _als,
    "PCA": _pca,
    "Gaussian mixture": _mixture,
    "Word2Vec": _words,
    "FP-growth": _itemsets,
    "sort-merge join": _join,
    "aggregation": _aggregate,
    "window": _window,
    "Parquet, written and read": _parquet,
    "pandas UDF": _pandas,
    "toPandas": _to_pandas,
}
