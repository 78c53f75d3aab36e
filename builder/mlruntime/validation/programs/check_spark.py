"""Spark itself: shuffles, joins, Parquet, Arrow, and work on every worker."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

from .cluster import Cluster
from .harness import Mismatch, Proof

_ROWS = 20_000


def aggregate(cluster: Cluster, proof: Proof) -> None:
    """A shuffle and a sum whose answer has a closed form."""
    from pyspark.sql import functions as f

    groups = 7
    rows = (
        cluster.spark.range(_ROWS)
        .groupBy((f.col("id") % groups).alias("key"))
        .agg(f.count("*").alias("n"), f.sum("id").alias("total"), f.max("id").alias("top"))
        .orderBy("key")
        .collect()
    )
    want = []
    for key in range(groups):
        n = (_ROWS - 1 - key) // groups + 1
        top = key + (n - 1) * groups
        want.append([key, n, (key + top) * n // 2, top])
    proof.equal("groups", [list(row) for row in rows], want)


def join(cluster: Cluster, proof: Proof) -> None:
    """A shuffled join: multiples of 3 that are multiples of 5, and those without a match."""
    from pyspark.sql import functions as f

    spark = cluster.spark
    threes = spark.range(0, _ROWS, 3)
    fives = spark.range(0, _ROWS, 5).withColumn("five", f.lit(1))
    joined = threes.join(fives.hint("shuffle_merge"), "id", "left").groupBy("five")
    answer = {
        row["five"]: (row["n"], row["total"])
        for row in joined.agg(f.count("*").alias("n"), f.sum("id").alias("total")).collect()
    }
    both = list(range(0, _ROWS, 15))
    alone = [i for i in range(0, _ROWS, 3) if i % 5]
    proof.equal("matched", answer[1], [len(both), sum(both)])
    proof.equal("unmatched", answer[None], [len(alone), sum(alone)])


def workers(cluster: Cluster, proof: Proof) -> None:
    """Ordinary (not barrier) tasks are seen on every worker, and on nothing else."""
    import socket

    def work(index: int) -> tuple[str, int]:
        time.sleep(0.15)
        return socket.gethostname(), index * index

    tasks = 4 * len(cluster.expect.worker_hosts)
    seen = cluster.context.parallelize(range(tasks), tasks).map(work).collect()
    proof.equal("squares", [square for _, square in seen], [i * i for i in range(tasks)])
    proof.equal("hosts", {host for host, _ in seen}, set(cluster.expect.worker_hosts))


def parquet(cluster: Cluster, proof: Proof) -> None:
    """SQL over a partitioned Parquet table that the workers wrote."""
    from pyspark.sql import functions as f

    spark = cluster.spark
    path = f"{cluster.expect.shared}/check-parquet"
    frame = spark.range(1000).select(
        "id",
        (f.col("id") % 4).alias("part"),
        (f.col("id") * 0.5).alias("half"),
        f.when(f.col("id") % 10 == 0, None).otherwise(f.concat(f.lit("n"), "id")).alias("text"),
    )
    frame.repartition(2).write.mode("overwrite").partitionBy("part").parquet(path)
    spark.read.parquet(path).createOrReplaceTempView("check_parquet")
    row = spark.sql(
        "select count(*) n, sum(id) total, sum(half) halves, count(text) texts, "
        "count(distinct text) different from check_parquet where part in (1, 2)"
    ).first()
    kept = [i for i in range(1000) if i % 4 in (1, 2)]
    texts = [i for i in kept if i % 10]
    want: list[Any] = [len(kept), sum(kept), sum(kept) / 2, len(texts), len(texts)]
    proof.equal("answer", list(row), want)
    plan = spark.sql("select id from check_parquet where part = 3")._jdf.queryExecution()
    if "PartitionFilters" not in plan.toString():
        raise Mismatch("the plan reads every partition")


def arrow(cluster: Cluster, proof: Proof) -> None:
    """A pandas UDF on the workers and Arrow on the way to the driver."""
    import numpy as np
    import pandas as pd
    from pyspark.sql import functions as f

    @f.pandas_udf("double")
    def polynomial(x: pd.Series) -> pd.Series:
        return 2 * x**2 - 3 * x + 1

    spark = cluster.spark
    name = "spark.sql.execution.arrow.pyspark.enabled"
    strict = "spark.sql.execution.arrow.pyspark.fallback.enabled"
    spark.conf.set(name, "true")
    spark.conf.set(strict, "false")
    try:
        frame = spark.range(500).select((f.col("id") / 10).alias("x"))
        got = frame.withColumn("y", polynomial("x")).toPandas().sort_values("x")
    finally:
        spark.conf.set(name, "false")
    x = np.arange(500) / 10
    proof.close("sum", got["y"].sum(), (2 * x**2 - 3 * x + 1).sum(), within=1e-6)
    proof.close("ends", got["y"].to_numpy()[[0, -1]], (2 * x**2 - 3 * x + 1)[[0, -1]], within=1e-9)


def map_in_arrow(cluster: Cluster, proof: Proof) -> None:
    """Arrow's record batches go through Python and come back, on every worker."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def summed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import socket

        total = rows = 0
        for batch in batches:
            total += pc.sum(pc.multiply(batch.column("id"), 3)).as_py()
            rows += batch.num_rows
            time.sleep(0.15)  # a task that ends at once leaves the other workers none
        arrays = [pa.array([value]) for value in (socket.gethostname(), rows, total)]
        yield pa.RecordBatch.from_arrays(arrays, names=["host", "n", "total"])

    tasks = 4 * len(cluster.expect.worker_hosts)
    frame = cluster.spark.range(0, _ROWS, 1, tasks)
    found = frame.mapInArrow(summed, "host string, n long, total long").collect()
    proof.equal("rows", sum(row["n"] for row in found), _ROWS)
    proof.equal("total", sum(row["total"] for row in found), 3 * _ROWS * (_ROWS - 1) // 2)
    proof.equal("hosts", {row["host"] for row in found}, set(cluster.expect.worker_hosts))


def streaming(cluster: Cluster, proof: Proof) -> None:
    """A query that is started anew reads what it has not read, and still knows what it counted."""
    spark = cluster.spark
    # A directory of its own: on a cluster that is there, an earlier run has left its checkpoint.
    folder = f"{cluster.expect.shared}/check-streaming-{uuid.uuid4().hex}"
    partitions = "spark.sql.shuffle.partitions"
    before = spark.conf.get(partitions)
    spark.conf.set(partitions, "2")

    def arrived(start: int, end: int) -> None:
        rows = spark.range(start, end, 1, 1).selectExpr("id % 3 as key", "id as value")
        rows.write.mode("append").json(f"{folder}/in")

    def ran(name: str) -> tuple[dict[int, tuple[int, int]], int]:
        stream = spark.readStream.schema("key long, value long").json(f"{folder}/in")
        totals = stream.groupBy("key").agg({"*": "count", "value": "sum"})
        writer = totals.writeStream.outputMode("complete").format("memory").queryName(name)
        writer = writer.option("checkpointLocation", f"{folder}/checkpoint")
        query = writer.trigger(availableNow=True).start()
        query.awaitTermination()
        rows = spark.table(name).collect()
        found = {row["key"]: (row["count(1)"], row["sum(value)"]) for row in rows}
        return found, sum(progress["numInputRows"] for progress in query.recentProgress)

    def wanted(end: int) -> dict[int, tuple[int, int]]:
        keys = (range(key, end, 3) for key in range(3))
        return {key: (len(values), sum(values)) for key, values in enumerate(keys)}

    try:
        arrived(0, 30)
        first, read = ran("check_streaming_1")
        proof.equal("first run", (first, read), (wanted(30), 30))
        arrived(30, 100)
        second, read = ran("check_streaming_2")
        proof.equal("second run", (second, read), (wanted(100), 70))
    finally:
        spark.conf.set(partitions, before)
