import sys

import keras
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from sparkdl.estimator import KerasEstimator

spark = SparkSession.builder.getOrCreate()
frame = spark.range(2000).select((f.rand(1) - 0.5).alias("a"), (f.rand(2) - 0.5).alias("b"))
frame = frame.withColumn("label", 2 * f.col("a") - f.col("b")).cache()

model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.5), "mse")
pipeline = Pipeline(
    stages=[
        VectorAssembler(inputCols=["a", "b"], outputCol="features"),
        KerasEstimator(model=model, np=2, epochs=6, validationSplit=0.1),
    ]
)
trained = pipeline.fit(frame)
print(sorted(trained.stages[-1].history))

folder = sys.argv[1]
trained.save(folder)
scored = PipelineModel.load(folder).transform(frame)
worst = scored.select(f.max(f.abs(f.col("prediction") - f.col("label")))).first()[0]
print(f"off by less than {0.05 if worst < 0.05 else worst}")
