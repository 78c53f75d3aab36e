"""What programs on a cluster usually do: the classes that this loads go into the archive."""

import tempfile

import pandas
from pyspark.sql import SparkSession
from pyspark.sql.functions import pandas_udf

spark = SparkSession.builder.getOrCreate()
rows = spark.range(1000).selectExpr("id", "id % 7 as k", "cast(id as string) as s")
rows.groupBy("k").count().orderBy("k").collect()
rows.createOrReplaceTempView("rows")
spark.sql("select k, count(*), avg(id) from rows where s like '%1' group by k").show()
with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/rows.parquet"
    rows.join(rows.groupBy("k").agg({"id": "max"}), "k").write.parquet(path)
    spark.read.parquet(path).where("k > 1").collect()
spark.sparkContext.parallelize(range(100), 2).map(lambda n: (n % 3, n)).reduceByKey(max).collect()
rows.select(pandas_udf(lambda s: s + 1, "long")("id")).count()
rows.toPandas()
spark.createDataFrame(pandas.DataFrame({"a": [1, 2]})).collect()
spark.stop()
