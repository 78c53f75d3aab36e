"""What ``sparkdl.data`` promises, with real files written and read by real executors."""

import collections
import itertools
import json
import re
import sys
import warnings
from pathlib import Path

import pandas as pd
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from sparkdl import HorovodRunner
from sparkdl.data import DataError, shard_dataframe

ROWS = 1000


def frames(spark):
    """Return DataFrames of the ids 0 to 999 by what is special about their partitions."""
    ids = spark.range(0, ROWS, 1, 4)
    # Partition 0 has almost all rows, 1 some, 2 and 3 and 5 none.
    uneven = ids.rdd.map(lambda row: (0 if row.id < 900 else 1 if row.id < 990 else 4, row.id))
    uneven = uneven.partitionBy(6, lambda key: key).map(lambda pair: (pair[1],))
    return {
        "even": ids,
        "uneven": spark.createDataFrame(uneven, "id long"),
        "one partition": ids.coalesce(1),
    }


def read(data, batch_size, epochs):
    """Return what each rank read: the ids of each batch of each epoch, by policy."""
    import horovod.tensorflow as hvd
    import numpy as np

    hvd.init()
    answer = {}
    for last in ("drop", "wrap", "keep"):
        shard = data.shard(hvd.rank(), hvd.size(), batch_size=batch_size, last=last, seed=1)
        answer[last] = []
        for epoch in range(epochs):
            batches = list(shard.batches(epoch))
            for batch in batches:  # an allreduce a step, as training does: uneven ends would hang
                total = hvd.allreduce(np.float64(len(batch["id"])), op=hvd.Sum, name="rows")
                assert total <= hvd.size() * batch_size
                assert (batch["x"] == np.stack([batch["id"], -batch["id"]], 1)).all()
            answer[last].append([batch["id"].tolist() for batch in batches])
    return hvd.allgather_object(answer)


def told(ranks, last):
    """Return facts about what all ranks read under one policy."""
    epochs = [[rank[last][epoch] for rank in ranks] for epoch in range(len(ranks[0][last]))]
    counts = [
        collections.Counter(id for rank in epoch for batch in rank for id in batch)
        for epoch in epochs
    ]
    of_rank_0 = [set(itertools.chain(*epoch[0])) for epoch in epochs]
    return {
        "steps": [sorted({len(rank) for rank in epoch}) for epoch in epochs],
        "rows": [count.total() for count in counts],
        "different": [len(count) for count in counts],
        "most often": [max(count.values()) for count in counts],
        "epochs differ": epochs[0] != epochs[1],
        "ranks are dealt new rows": of_rank_0[0] != of_rank_0[1],
        "in order": [
            sum(b > a for rank in epoch for batch in rank for a, b in itertools.pairwise(batch))
            for epoch in epochs
        ],
    }


def properties(spark):
    result = {}
    for name, ids in frames(spark).items():
        rows = ids.withColumn("x", f.array(f.col("id"), -f.col("id")))
        with shard_dataframe(rows, chunk_bytes=240, float_dtype=None) as data:
            ranks = HorovodRunner(np=2).run(read, data=data, batch_size=32, epochs=2)
            again = [
                [[b["id"].tolist() for b in shard.batches(epoch)] for epoch in range(2)]
                for rank in range(2)
                for shard in [data.shard(rank, 2, batch_size=32, seed=1)]
            ]
            other = [b["id"].tolist() for b in data.shard(0, 2, batch_size=32, seed=2).batches(0)]
            result[name] = {
                **{last: told(ranks, last) for last in ("drop", "wrap", "keep")},
                "the same here": again == [rank["drop"] for rank in ranks],
                "another seed differs": other != again[0][0],
                "files": len(data.files),
            }
        result[name]["left behind"] = Path(data.directory).exists()
    return result


def peak(data, batch_size):
    """Return by how many bytes this rank's memory grew while it read all of its rows."""
    import horovod.tensorflow as hvd

    hvd.init()

    def memory(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

    shard = data.shard(hvd.rank(), hvd.size(), batch_size=batch_size, buffer_bytes=8 << 20)
    next(shard.batches(9))  # what the libraries take for themselves
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    rows = 0
    for batch in shard.batches(0):
        rows += len(batch["x"])
    return {"grown": memory("VmHWM") - before, "read": rows * batch["x"][0].nbytes}


def memory(spark):
    """Rows of 256 KiB, twenty times as many as fit the buffer."""
    values = f.transform(
        f.sequence(f.lit(1), f.lit(65536)), lambda i: (i * f.rand(3)).cast("float")
    )
    wide = spark.range(0, 640, 1, 4).select(values.alias("x"))
    with shard_dataframe(wide) as data:
        return HorovodRunner(np=2).run(peak, data=data, batch_size=8)


def refusals(spark):
    """Return what is said of data that will not do."""
    said = {}

    def ask(name, frame, **options):
        try:
            shard_dataframe(frame, **options).delete()
        except DataError as error:
            said[name] = str(error)

    def of(kind, *values):
        return spark.createDataFrame([(value,) for value in values], f"c {kind}")

    ask("text", of("string", "a"))
    ask("ragged", of("array<int>", [1, 2], [1]))
    ask("ragged across partitions", of("array<int>", [1, 2], [1]).repartition(2, "c"))
    ask("null", of("int", 1, None))
    ask("null inside", of("array<int>", [1, None]))
    ask("missing", of("int", 1), columns=["d"])
    ask("missing, by one name", of("int", 1), columns="id")
    ask("not shared", of("int", 1), directory="/tmp")
    ask("no such directory", of("int", 1), directory="/nowhere/at/all")
    ask("no rows", of("int", 1).limit(0))
    ask("none to validate with", of("int", 1, 2, 3), validation=1e-9)
    ask("none to train on", of("int", 1).withColumn("v", f.lit(True)), validation="v")
    ask("none flagged", of("int", 1).withColumn("v", f.lit(False)), validation="v")
    ask("pandas", pd.DataFrame({"c": [1]}))
    said["left behind"] = [path.name for path in Path("/tmp").glob("sparkdl-*")]
    return said


def read_back(frame, **options):
    """Return what the files have of the only column, in order, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with shard_dataframe(frame, "c", **options) as data:
            shard = data.shard(0, 1, batch_size=1000, shuffle=False, last="keep")
            values = [value for batch in shard.batches(0) for value in batch["c"].tolist()]
    said = [str(one.message) for one in caught if "column 'c'" in str(one.message)]
    return {"values": sorted(values), "type": data.columns[0].dtype, "said": said}


def narrowing(spark):
    """Return what becomes of numbers that float32 rounds, and of advice that is followed."""
    seconds = spark.range(100).select((f.col("id") + 1_700_000_000).cast("double").alias("c"))
    hours = spark.range(100).select((f.col("id") * 3600 + 1_700_000_000).cast("double").alias("c"))
    pair = spark.range(4).select(f.rand(1).alias("a"), (f.col("id") + 2.0**40).alias("b"))
    frames = {
        "seconds": seconds,
        "hours": hours,
        "second of two": VectorAssembler(inputCols=["a", "b"], outputCol="c").transform(pair),
        "infinite": spark.range(1).select(f.lit(1e300).alias("c")),
        "infinite before": spark.range(2)
        .select(f.expr("try_divide(1d, id)").alias("c"))
        .na.fill(float("inf")),
        "to nothing": spark.range(1, 3).select((f.col("id") * 1e-50).alias("c")),
        "tenths": spark.range(2).select(f.lit(0.1).alias("c")),
        "long": spark.range(2).select((f.col("id") + 2**60).alias("c")),
    }
    found = {"as they are": read_back(seconds, float_dtype="float64")}
    for name, frame in frames.items():
        try:
            found[name] = read_back(frame)
        except DataError as error:
            found[name] = str(error)
    return found


def advice(spark):
    """Return what comes of doing what the error says, for each type that is no number."""
    literals = [
        "date'2020-02-01'",
        "timestamp'2020-01-02 00:00:01'",
        "timestamp_ntz'2020-01-02 00:00:01'",
        "cast(1.25 as decimal(30, 2))",
        "cast(16777217 as decimal(12, 0))",
        "interval '1 02:00:01.5' day to second",
        "interval '1-2' year to month",
        "array(date'2020-01-03', date'2020-01-02')",
        "array(array(date'2020-01-03'))",
    ]
    found = {}
    for literal in literals:
        frame = spark.range(1).select(f.expr(literal).alias("c"))
        try:
            found[literal] = read_back(frame)
        except DataError as error:
            (expression,) = re.findall(r'f\.expr\("(.+?)"\)', str(error))
            found[literal] = read_back(frame.select(f.expr(expression).alias("c")))["values"]
    return found


def main():
    spark = SparkSession.builder.getOrCreate()
    parts = {
        "properties": properties,
        "memory": memory,
        "refusals": refusals,
        "narrowing": narrowing,
        "advice": advice,
    }
    chosen = sys.argv[1:] or parts  # by name, to look at one alone
    print("RESULT", json.dumps({name: parts[name](spark) for name in chosen}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
