"""Adds numbers up in two stages with a shuffle between them; ``SIZE``, ``PARTS``, seconds of each.

It takes long enough that executors end while it runs.
"""

import json
import sys
import time
from operator import add

from pyspark.sql import SparkSession

size, parts, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])


def slowly(rows):
    time.sleep(seconds)
    return rows


spark = SparkSession.builder.getOrCreate()
rows = spark.sparkContext.parallelize(range(size), parts).mapPartitions(slowly)
by_rest = rows.map(lambda n: (n % 97, n)).reduceByKey(add, parts).mapPartitions(slowly)
found = by_rest.collect()
print("RESULT " + json.dumps({"keys": len(found), "sum": sum(n for _, n in found)}), flush=True)
spark.stop()
