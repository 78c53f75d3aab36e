"""MLlib against answers worked out with numpy, and the native library it should be using."""

from typing import Any

from . import processes
from .cluster import Cluster
from .harness import Mismatch, Proof


def _features(rows: int, columns: int, seed: int) -> Any:
    import numpy as np

    return np.random.default_rng(seed).normal(size=(rows, columns))


def _frame(cluster: Cluster, x: Any, y: Any = None) -> Any:
    """Return rows as a DataFrame; call it before making an estimator, which needs a session."""
    from pyspark.ml.linalg import Vectors

    labels = [0.0] * len(x) if y is None else [float(one) for one in y]
    rows = [(Vectors.dense(row), label) for row, label in zip(x, labels, strict=True)]
    return cluster.spark.createDataFrame(rows, ["features", "label"])


def linear(cluster: Cluster, proof: Proof) -> None:
    """Least squares equals numpy's."""
    import numpy as np
    from pyspark.ml.regression import LinearRegression

    x = _features(200, 4, seed=1)
    noise = np.random.default_rng(2).normal(scale=0.1, size=200)
    y = x @ np.array([1.5, -2.0, 0.5, 3.0]) + 4.0 + noise
    frame = _frame(cluster, x, y)
    model = LinearRegression(solver="normal", regParam=0.0).fit(frame)
    want = np.linalg.lstsq(np.column_stack([x, np.ones(200)]), y, rcond=None)[0]
    proof.close("coefficients", model.coefficients.toArray(), want[:-1], within=1e-8)
    proof.close("intercept", model.intercept, want[-1], within=1e-8)


def logistic(cluster: Cluster, proof: Proof) -> None:
    """The maximum likelihood found by L-BFGS equals Newton's."""
    import numpy as np
    from pyspark.ml.classification import LogisticRegression

    x = _features(300, 3, seed=3)
    chance = 1 / (1 + np.exp(-(x @ np.array([1.0, -1.5, 0.7]) + 0.3)))
    y = (np.random.default_rng(4).random(300) < chance).astype(float)
    frame = _frame(cluster, x, y)
    model = LogisticRegression(regParam=0.0, maxIter=100, tol=1e-10).fit(frame)
    design, weights = np.column_stack([x, np.ones(300)]), np.zeros(4)
    for _ in range(25):
        p = 1 / (1 + np.exp(-design @ weights))
        hessian = design.T @ (design * (p * (1 - p))[:, None])
        weights += np.linalg.solve(hessian, design.T @ (y - p))
    got = [*model.coefficients.toArray(), model.intercept]
    proof.close("weights", got, weights, within=1e-4)


def pca(cluster: Cluster, proof: Proof) -> None:
    """Principal components equal the eigenvectors of the covariance, up to their sign."""
    import numpy as np
    from pyspark.ml.feature import PCA

    x = _features(150, 5, seed=5) @ np.diag([5.0, 3.0, 1.0, 0.5, 0.2])
    frame = _frame(cluster, x)
    model = PCA(k=2, inputCol="features", outputCol="out").fit(frame)
    values, vectors = np.linalg.eigh(np.cov(x, rowvar=False))
    want, got = vectors[:, ::-1][:, :2], model.pc.toArray()
    signs = np.sign((want * got).sum(axis=0))
    share = values[::-1][:2] / values.sum()
    proof.close("components", got * signs, want, within=1e-9)
    proof.close("variance", model.explainedVariance.toArray(), share, within=1e-9)


def als(cluster: Cluster, proof: Proof) -> None:
    """User factors solve the ridge equations of the item factors; the ratings come back."""
    import numpy as np
    from pyspark.ml.recommendation import ALS

    users, items, rank, ridge = 12, 9, 2, 0.01
    ratings = _features(users, rank, seed=6) @ _features(rank, items, seed=7)
    rows = [(u, i, float(ratings[u, i])) for u in range(users) for i in range(items)]
    frame = cluster.spark.createDataFrame(rows, "user int, item int, rating double")
    trainer = ALS(rank=rank, maxIter=6, regParam=ridge, seed=8, numUserBlocks=2, numItemBlocks=2)
    model = trainer.fit(frame)
    u = np.array([row["features"] for row in model.userFactors.orderBy("id").collect()])
    v = np.array([row["features"] for row in model.itemFactors.orderBy("id").collect()])
    want = np.linalg.solve(v.T @ v + ridge * items * np.eye(rank), v.T @ ratings.T).T
    proof.close("user factors", u, want, within=1e-4)
    error = float(np.sqrt(np.mean((u @ v.T - ratings) ** 2)))
    proof.below("rmse", error, 0.1)


def kmeans(cluster: Cluster, proof: Proof) -> None:
    """Three far apart clouds: the centres are their means and the cost their scatter."""
    import numpy as np
    from pyspark.ml.clustering import KMeans

    spots = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 80.0]])
    clouds = [spot + _features(40, 2, seed=10 + i) for i, spot in enumerate(spots)]
    frame = _frame(cluster, np.concatenate(clouds))
    model = KMeans(k=3, seed=1, maxIter=10).fit(frame)
    want = sorted(cloud.mean(axis=0).tolist() for cloud in clouds)
    got = sorted(centre.tolist() for centre in model.clusterCenters())
    cost = sum(((cloud - cloud.mean(axis=0)) ** 2).sum() for cloud in clouds)
    proof.close("centres", got, want, within=1e-9)
    proof.close("cost", model.summary.trainingCost, cost, within=1e-6)


def forest(cluster: Cluster, proof: Proof) -> None:
    """Trees that see all the data learn ``a and b``; importances are the Gini gains by hand."""
    import numpy as np
    from pyspark.ml.classification import RandomForestClassifier

    grid = [(a, b, c) for a in (0.0, 1.0) for b in (0.0, 1.0) for c in (0.0, 1.0)] * 5
    x = np.array(grid)
    y = x[:, 0] * x[:, 1]
    frame = _frame(cluster, x, y)
    trainer = RandomForestClassifier(
        numTrees=3, bootstrap=False, featureSubsetStrategy="all", maxDepth=3, seed=1
    )
    model = trainer.fit(frame)
    rows = model.transform(frame).select("label", "prediction").collect()
    wrong = sum(row["label"] != row["prediction"] for row in rows)
    # Root: 0.375 - 0.5 * 0.5 = 0.125; then half of the rows gain 0.5: 0.25. Together 0.375.
    proof.equal("rows", len(rows), len(grid))
    proof.equal("wrong predictions", wrong, 0)
    importances = model.featureImportances.toArray()
    proof.close("importances", sorted(importances), [0.0, 1 / 3, 2 / 3], within=1e-9)


def save_load(cluster: Cluster, proof: Proof) -> None:
    """A pipeline and its model, saved where all nodes see them, are the same when loaded."""
    import numpy as np
    from pyspark.ml import Pipeline, PipelineModel
    from pyspark.ml.feature import StandardScaler
    from pyspark.ml.regression import LinearRegression

    x = _features(120, 3, seed=11)
    frame = _frame(cluster, x, x @ np.array([2.0, -1.0, 0.5]) + 3.0)
    scaler = StandardScaler(inputCol="features", outputCol="scaled", withMean=True)
    line = LinearRegression(featuresCol="scaled", solver="normal")
    pipeline = Pipeline(stages=[scaler, line])
    model = pipeline.fit(frame)
    path = f"{cluster.expect.shared}/check-pipeline"
    pipeline.write().overwrite().save(f"{path}-unfitted")
    model.write().overwrite().save(path)

    def predicted(by: Any) -> Any:
        return np.array([row["prediction"] for row in by.transform(frame).collect()])

    want = x @ np.array([2.0, -1.0, 0.5]) + 3.0
    loaded, again = PipelineModel.load(path), Pipeline.load(f"{path}-unfitted").fit(frame)
    kinds = ["StandardScalerModel", "LinearRegressionModel"]
    proof.equal("stages", [type(stage).__name__ for stage in loaded.stages], kinds)
    proof.close("predictions", predicted(model), want, within=1e-6)
    proof.equal("loaded", predicted(loaded).tolist(), predicted(model).tolist())
    proof.close("fitted anew", predicted(again), want, within=1e-6)


def _mapped(cluster: Cluster) -> dict[str, list[str]]:
    """Return the files that the JVMs of the driver and of the executors have mapped, by host."""
    driver = cluster.context._jvm.java.lang.ProcessHandle.current().pid()
    workers = cluster.on_workers(lambda: processes.mapped_files(processes.java_pid()))
    return {cluster.expect.driver_host: processes.mapped_files(driver), **workers}


def lapack(cluster: Cluster, proof: Proof) -> None:
    """Normal equations are solved by OpenBLAS's LAPACK, by the driver and by the executors.

    As with BLAS, the library must be mapped into each JVM after it has solved some.
    """
    linear(cluster, proof)
    als(cluster, proof)
    for host, files in sorted(_mapped(cluster).items()):
        names = [path.removesuffix(" (deleted)") for path in files]
        native = sorted({path for path in names if "lapack" in path.lower()})
        proof.note(f"{host}.libraries", native)
        proof.equal(f"{host}.JNI", any("netliblapackjni" in path for path in native), True)
        own = any("/openblas" in path and "liblapack.so" in path for path in native)
        proof.equal(f"{host}.OpenBLAS's", own, True)


def _executor_libraries() -> dict[str, Any]:
    pid = processes.java_pid()
    return {
        "files": processes.mapped_files(pid),
        "threads": processes.environment(pid).get("OPENBLAS_NUM_THREADS"),
    }


def _multiply_on_executors(cluster: Cluster) -> tuple[Any, Any]:
    """Return a block matrix product whose blocks the executors multiplied, and numpy's."""
    from pyspark.mllib.linalg import Matrices
    from pyspark.mllib.linalg.distributed import BlockMatrix

    x, half = _features(64, 64, seed=9), 32
    parts = [(i, j) for i in (0, 1) for j in (0, 1)]

    def block(i: int, j: int) -> Any:
        values = x[i * half : (i + 1) * half, j * half : (j + 1) * half]
        return Matrices.dense(half, half, values.flatten(order="F"))

    blocks = cluster.context.parallelize([((i, j), block(i, j)) for i, j in parts], 4)
    matrix = BlockMatrix(blocks, half, half)
    return matrix.multiply(matrix).toLocalMatrix().toArray(), x @ x


def blas(cluster: Cluster, proof: Proof) -> None:
    """Matrix products go to OpenBLAS through JNI, with one thread, on the driver and executors.

    The class name alone proves little, reference BLAS has the same: the library must be mapped
    into each JVM after it has multiplied.
    """
    got, want = _multiply_on_executors(cluster)
    proof.close("product", got, want, within=1e-9)
    jvm = cluster.context._jvm
    scala_object = getattr(getattr(jvm.org.apache.spark.ml.linalg, "BLAS$"), "MODULE$")
    name = scala_object.nativeBLAS().getClass().getName()
    proof.equal("driver class", name, "dev.ludovic.netlib.blas.JNIBLAS")
    jvm.org.apache.spark.mllib.linalg.DenseMatrix.eye(64).multiply(
        jvm.org.apache.spark.mllib.linalg.DenseMatrix.eye(64)
    )
    driver = jvm.java.lang.ProcessHandle.current().pid()
    libraries = {
        cluster.expect.driver_host: {
            "files": processes.mapped_files(driver),
            "threads": processes.environment(driver).get("OPENBLAS_NUM_THREADS"),
        },
        **cluster.on_workers(_executor_libraries),
    }
    for host, found in sorted(libraries.items()):
        files = [path.removesuffix(" (deleted)") for path in found["files"]]
        names = [path.rpartition("/")[2] for path in files]
        native = [path for path in files if "blas" in path.lower() or "lapack" in path.lower()]
        proof.note(f"{host}.libraries", native)
        if not any(name.startswith("libopenblas") for name in names):
            raise Mismatch(f"no OpenBLAS in the JVM of {host}, only {native or 'none at all'}")
        proof.equal(f"{host}.JNI", any("netlibblasjni" in name for name in names), True)
        # More threads than one have crashed JVMs, whose threads have small stacks: either the
        # library was built without threads (Debian's serial flavour), or it is told to use one.
        serial = any("/openblas-serial/" in path for path in files)
        proof.equal(f"{host}.one thread", serial or found["threads"] == "1", True)
