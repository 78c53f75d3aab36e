"""Which checks there are: their names, what each proves, and how long each may take."""

from dataclasses import dataclass
from typing import Final, Literal

from mlruntime.lock.model import CORE

Session = Literal["spark", "plain"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckSpec:
    """One check: ``name`` is ``family.detail``, ``timeout`` its limit in seconds.

    ``session`` says whether it needs the cluster's Spark session; ``needs`` are components of
    which a variant must have all, or the check has no place in it; ``gpus`` how many a host must
    give, or the check cannot be run on it; ``shared`` says that it needs a directory that all nodes
    see, and ``on_s3`` a server of S3; ``flavour`` is the one that an image must have, or the check
    has no place in it.

    Each limit is two to four times what the check needs on a busy machine with 2 cores, with the
    start of Python workers, as ``--only`` may leave out the check that would have started them.
    ``validation.pace`` multiplies all limits where a machine is slower.
    """

    name: str
    summary: str
    timeout: int
    session: Session = "spark"
    needs: tuple[str, ...] = ()
    gpus: int = 0
    shared: bool = False
    on_s3: bool = False
    flavour: str = CORE

    @property
    def family(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]


def _check(
    name: str,
    summary: str,
    timeout: int,
    session: Session = "spark",
    *,
    needs: str = "",
    gpus: int = 0,
    shared: bool = False,
    on_s3: bool = False,
    flavour: str = CORE,
) -> CheckSpec:
    return CheckSpec(
        name=name,
        summary=summary,
        timeout=timeout,
        session=session,
        needs=tuple(needs.split()),
        gpus=gpus,
        shared=shared,
        on_s3=on_s3,
        flavour=flavour,
    )


# In this order, so that what needs TensorFlow in the Python workers comes in one stretch: Spark
# ends a worker that has been idle for a minute, and horovod.spark's launcher leaves none behind.
CHECKS: Final[tuple[CheckSpec, ...]] = (
    _check("identity.nodes", "same image, Python, Java and locked packages on every node", 60),
    _check("identity.pip", "pip check is clean and pip list is the lock on every node", 60),
    _check("image.defaults", "the image's Spark defaults are in force in every JVM", 40),
    _check("image.zones", "an old zone name means the same to Spark and to Python", 30),
    _check(
        "static.libraries", "every library that is needed is there, and there once", 120, "plain"
    ),
    _check("static.driver", "nothing shadows the driver's own libraries", 60, "plain"),
    _check(
        "static.versions",
        "CUDA, cuDNN, NCCL, TensorFlow and Horovod agree",
        120,
        "plain",
        needs="cuda",
    ),
    _check("static.architectures", "GPU code for all that is promised", 120, "plain", needs="cuda"),
    _check("spark.aggregate", "a shuffled sum with a closed form", 30),
    _check("spark.join", "a shuffled join with a known answer", 30),
    _check("spark.workers", "ordinary tasks run on every worker", 30),
    _check("spark.parquet", "SQL over partitioned Parquet that the workers wrote", 40, shared=True),
    _check("spark.arrow", "a pandas UDF and Arrow to the driver", 40),
    _check("spark.map_in_arrow", "record batches through Python on every worker", 40),
    _check(
        "spark.streaming", "a stream that is started anew goes on where it ended", 90, shared=True
    ),
    _check("barrier.allgather", "barrier tasks on every worker hear from each other", 30),
    _check("barrier.slots", "more barrier tasks than slots are refused within seconds", 30),
    _check("mllib.linear", "least squares equals numpy's", 40),
    _check("mllib.logistic", "logistic regression equals Newton's method", 40),
    _check("mllib.pca", "principal components equal the covariance's eigenvectors", 30),
    _check("mllib.als", "factors solve their ridge equations and restore the ratings", 60),
    _check("mllib.kmeans", "centres of three clouds are their means", 30),
    _check("mllib.forest", "trees learn a rule, with importances worked out by hand", 40),
    _check(
        "mllib.save_load",
        "a saved pipeline predicts the same, and can be fitted anew",
        90,
        shared=True,
    ),
    _check("mllib.blas", "OpenBLAS through JNI, one thread, in every JVM", 40),
    _check("mllib.lapack", "LAPACK through JNI, OpenBLAS's own, in every JVM", 90),
    _check("graphframes.pagerank", "PageRank equals numpy's power iteration", 60),
    _check("graphframes.components", "connected components of a small graph", 80, shared=True),
    _check("graphframes.triangles", "triangles of a complete graph with a tail", 40),
    _check("graphframes.bfs", "all shortest paths, and none where there is none", 40),
    _check("graphframes.motifs", "mutual edges and open chains", 40),
    _check("tensorflow.gradient", "a training step with a known gradient, on every node", 90),
    _check("tensorflow.function", "a compiled loop and a convolution, on every node", 90),
    _check("keras.fit", "fit ends at the weights numpy ends at", 60, "plain"),
    _check("keras.save_load", "same predictions and next step after .keras and .h5", 60, "plain"),
    _check(
        "keras.legacy",
        "keras.fit and keras.save_load with tf-keras, which is Keras 2",
        90,
        "plain",
        needs="tf-keras",
    ),
    _check("horovod.built", "Gloo is in; compiled against the installed TensorFlow", 90),
    _check("horovod.allreduce", "known sums across workers, eager and compiled", 90),
    _check("horovod.allgather", "uneven rows gathered across workers", 90),
    _check("horovod.broadcast", "variables and objects from the last rank", 90),
    _check("horovod.alltoall", "uneven splits exchanged across workers", 90),
    _check(
        "horovod.keras",
        "ranks end alike: fit, a custom training loop, a model without an input",
        120,
    ),
    _check("horovod.train_step", "ranks end with the same weights: a custom train_step", 90),
    _check(
        "horovod.legacy_keras",
        "horovod.keras with tf-keras, which is Keras 2",
        120,
        needs="tf-keras",
    ),
    _check(
        "horovodrunner.equivalence",
        "ranks end with the weights of one process on the whole batch",
        90,
    ),
    _check("horovodrunner.result", "rank 0's value, from ranks on every worker, twice", 90),
    _check("horovodrunner.local", "np=-2: two processes on the driver's host", 90),
    _check(
        "horovodrunner.logs", "all ranks' output, shown while they run, and kept", 90, shared=True
    ),
    _check(
        "horovodrunner.log_callback",
        "LogCallback's losses are numpy's, epoch by epoch",
        90,
        shared=True,
    ),
    _check(
        "horovodrunner.recovery",
        "a rank is killed: on from the checkpoint, same result",
        120,
        shared=True,
    ),
    _check("horovodrunner.slots", "np too large is refused within seconds", 40),
    _check("pipeline.end_to_end", "ETL, Parquet, training, scores, evaluation", 120, shared=True),
    _check("horovod.spark_run", "Horovod's own launcher on Spark", 120),
    _check(
        "ml.scikit_learn",
        "ridge regression and principal components are numpy's",
        150,
        "plain",
        flavour="ml",
    ),
    _check(
        "ml.statistics",
        "SciPy's and statsmodels' results are those of the formulas",
        150,
        "plain",
        flavour="ml",
    ),
    _check(
        "ml.boosting",
        "XGBoost and LightGBM find what decides; SHAP's parts add up",
        150,
        "plain",
        flavour="ml",
    ),
    _check(
        "ml.mlflow",
        "a run that was written into a database is read back",
        150,
        "plain",
        flavour="ml",
    ),
    _check("ml.tuning", "Optuna finds the lowest point of a grid", 150, "plain", flavour="ml"),
    _check(
        "ml.plots", "a plot is a picture with the colour that was drawn", 150, "plain", flavour="ml"
    ),
    _check("ml.kernel", "the kernel of notebooks runs this Python", 150, "plain", flavour="ml"),
    _check(
        "ml.tools",
        "git computes the tree's known hash; curl and git fetch it",
        150,
        "plain",
        flavour="ml",
    ),
    _check("mlspark.xgboost", "XGBoost's estimator trains on all workers", 150, flavour="ml"),
    _check(
        "static.jars",
        "every locked jar is there, and no class of a jar is in another one too",
        120,
        "plain",
        flavour="cloud",
    ),
    _check(
        "cloud.connectors",
        "the clients of S3, Azure and Google ask for their servers",
        60,
        needs="hadoop-connectors gcs-connector",
        flavour="cloud",
    ),
    _check(
        "cloud.avro",
        "Avro files that the workers wrote, read back",
        60,
        needs="spark-avro",
        flavour="cloud",
        shared=True,
    ),
    _check(
        "cloud.kafka",
        "Kafka's source and sink read their options and look for a broker",
        60,
        needs="spark-kafka",
        flavour="cloud",
    ),
    _check(
        "cloud.delta",
        "a Delta table has all of its versions",
        180,
        needs="delta",
        flavour="cloud",
        shared=True,
    ),
    _check(
        "cloud.s3a",
        "objects in parts, moved and listed, on a real S3 server",
        120,
        needs="hadoop-connectors",
        flavour="cloud",
        on_s3=True,
    ),
    _check(
        "cloud.delta_on_s3",
        "a Delta table on a real S3 server",
        180,
        needs="delta hadoop-connectors",
        flavour="cloud",
        on_s3=True,
    ),
    _check(
        "gpu.driver",
        "the driver is new enough, and is one for this CUDA",
        150,
        needs="cuda",
        gpus=1,
    ),
    _check(
        "gpu.devices",
        "every rank sees one GPU, of an architecture that the image covers",
        150,
        needs="cuda",
        gpus=1,
    ),
    _check(
        "gpu.matmul",
        "a product of matrices on the GPU: right, and faster than the CPU",
        150,
        needs="cuda",
        gpus=1,
    ),
    _check(
        "gpu.convolution",
        "a cuDNN convolution on the GPU: right, and faster than the CPU",
        150,
        needs="cuda",
        gpus=1,
    ),
    _check("gpu.xla", "a training step that XLA compiled for the GPU", 150, needs="cuda", gpus=1),
    _check(
        "gpu.mixed_precision",
        "training in half precision ends near single precision",
        150,
        needs="cuda",
        gpus=1,
    ),
    _check(
        "gpu.memory_growth", "a small tensor does not take the whole GPU", 150, needs="cuda", gpus=1
    ),
    _check(
        "gpu.ranks",
        "each rank has the GPU that Spark gave its task, no two the same",
        150,
        needs="cuda",
        gpus=2,
    ),
    _check(
        "gpu.allreduce", "NCCL sums across ranks; its bandwidth is noted", 150, needs="cuda", gpus=2
    ),
    _check(
        "gpu.equivalence",
        "training on GPUs ends with the weights of one process on the whole batch",
        150,
        needs="cuda",
        gpus=2,
    ),
)
