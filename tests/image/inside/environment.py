"""Runs in an environment: says what Spark has, or trains on two processes."""

import json
import sys
from pathlib import Path


def spark() -> dict[str, object]:
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[2]").getOrCreate()
    jvm = session._jvm
    blas = jvm.dev.ludovic.netlib.blas.NativeBLAS.getInstance()
    maps = Path(f"/proc/{jvm.java.lang.ProcessHandle.current().pid()}/maps").read_text()
    trust = jvm.javax.net.ssl.TrustManagerFactory.getInstance("PKIX")
    trust.init(None)
    return {
        "java": jvm.java.lang.System.getProperty("java.home"),
        "blas": blas.getClass().getName(),
        "library": "/" + next(x for x in maps.splitlines() if "openblas" in x).partition("/")[2],
        "sum": session.range(1000).selectExpr("sum(id)").first()[0],
        "timeout": session.sparkContext.getConf().get("spark.barrier.sync.timeout"),
        "trusted": len(trust.getTrustManagers()[0].getAcceptedIssuers()),
    }


def train() -> dict[str, object]:
    from sparkdl import HorovodRunner

    def main() -> dict[str, object]:
        import horovod.tensorflow as hvd
        import numpy as np
        import tensorflow as tf

        hvd.init()
        x = np.random.RandomState(hvd.rank()).rand(64, 4).astype("float32")
        y = x.sum(1, keepdims=True)
        weights = tf.Variable(tf.zeros((4, 1)))
        for _ in range(20):
            with hvd.DistributedGradientTape(tf.GradientTape()) as tape:
                loss = tf.reduce_mean((x @ weights - y) ** 2)
            weights.assign_sub(0.1 * tape.gradient(loss, [weights])[0])
        return {"size": hvd.size(), "weights": weights.numpy().tolist()}

    return HorovodRunner(np=-2).run(main)


if __name__ == "__main__":
    print(json.dumps({"spark": spark, "train": train}[sys.argv[1]]()))
