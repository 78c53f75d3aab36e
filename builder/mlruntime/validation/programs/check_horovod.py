"""Horovod's collectives between ranks on different workers, with sums known beforehand."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from . import fresh, training
from .cluster import Cluster
from .harness import Proof
from .ranks import on_ranks


def _build() -> dict[str, Any]:
    import horovod
    import horovod.tensorflow as hvd
    import tensorflow as tf

    metadata = Path(horovod.__file__).with_name("metadata.json").read_text(encoding="utf-8")
    return {
        "gloo": bool(hvd.gloo_built()),
        "mpi": bool(hvd.mpi_built()),
        "compiled against": json.loads(metadata).get("tensorflow"),
        "tensorflow": tf.__version__,
        "version": horovod.__version__,
    }


def built(cluster: Cluster, proof: Proof) -> None:
    """Gloo is in, and the TensorFlow it was compiled against is the one installed."""
    nodes = {cluster.expect.driver_host: _build(), **cluster.on_workers(_build)}
    for host, node in sorted(nodes.items()):
        proof.equal(f"{host}.gloo", node["gloo"], True)
        proof.equal(f"{host}.mpi", node["mpi"], False)
        proof.equal(f"{host}.compiled against", node["compiled against"], node["tensorflow"])
        version = cluster.expect.components.get("horovod", node["version"])
        proof.equal(f"{host}.version", node["version"], version)


def _answers(
    cluster: Cluster, proof: Proof, function: Any, environment: dict[str, str] | None = None
) -> list[Any]:
    """Return each rank's value, having seen that every worker holds exactly one rank."""
    answers = on_ranks(cluster, function, environment)
    proof.equal("hosts", sorted(host for host, _ in answers), sorted(cluster.expect.worker_hosts))
    return [value for _, value in answers]


def _allreduce() -> dict[str, Any]:
    import horovod.tensorflow as hvd
    import tensorflow as tf

    mine = tf.range(1000, dtype=tf.float32) + 1000.0 * hvd.rank()
    reduce = tf.function(lambda x: hvd.allreduce(x, op=hvd.Sum, name="check"), autograph=False)
    return {
        "size": hvd.size(),
        "sum": hvd.allreduce(mine, op=hvd.Sum).numpy().tolist(),
        "average": hvd.allreduce(tf.constant([hvd.rank() + 1.0]), op=hvd.Average).numpy().tolist(),
        "largest": hvd.allreduce(tf.constant([hvd.rank() + 1]), op=hvd.Max).numpy().tolist(),
        "compiled": float(reduce(tf.constant(2.0 ** hvd.rank()))),
    }


def allreduce(cluster: Cluster, proof: Proof) -> None:
    """Sum, average and maximum, eager and in a compiled function."""
    answers = _answers(cluster, proof, _allreduce)
    n = len(answers)
    steps = n * (n - 1) // 2
    for rank, answer in enumerate(answers):
        proof.equal(f"size.{rank}", answer["size"], n)
        total = [float(n * i + 1000 * steps) for i in range(1000)]
        proof.equal(f"sum of sums.{rank}", sum(answer["sum"]), sum(total))
        proof.equal(f"sum is right everywhere.{rank}", answer["sum"] == total, True)
        proof.close(f"average.{rank}", answer["average"], [(n + 1) / 2], within=1e-6)
        proof.equal(f"largest.{rank}", answer["largest"], [n])
        proof.equal(f"compiled.{rank}", answer["compiled"], 2.0**n - 1)


def _allgather() -> Any:
    import horovod.tensorflow as hvd
    import tensorflow as tf

    rows = hvd.rank() + 1
    return hvd.allgather(tf.fill([rows, 2], rows * 10)).numpy().tolist()


def allgather(cluster: Cluster, proof: Proof) -> None:
    """Rank r gives r + 1 rows; every rank gets all rows in rank order."""
    answers = _answers(cluster, proof, _allgather)
    want = [[10 * (rank + 1)] * 2 for rank in range(len(answers)) for _ in range(rank + 1)]
    for rank, answer in enumerate(answers):
        proof.equal(f"rows.{rank}", answer, want)


def _broadcast() -> Any:
    import horovod.tensorflow as hvd
    import tensorflow as tf

    last = hvd.size() - 1
    variable = tf.Variable([hvd.rank() * 1.5, hvd.rank() + 7.0])
    hvd.broadcast_variables([variable], root_rank=last)
    thing = hvd.broadcast_object({"from": hvd.rank(), "pid": os.getpid() * 0}, root_rank=last)
    return variable.numpy().tolist(), thing


def broadcast(cluster: Cluster, proof: Proof) -> None:
    """The last rank's variable and object arrive everywhere."""
    answers = _answers(cluster, proof, _broadcast)
    last = len(answers) - 1
    for rank, (variable, thing) in enumerate(answers):
        proof.equal(f"variable.{rank}", variable, [last * 1.5, last + 7.0])
        proof.equal(f"object.{rank}", thing, {"from": last, "pid": 0})


def _alltoall() -> Any:
    import horovod.tensorflow as hvd
    import tensorflow as tf

    # Rank r sends j + 1 copies of 100 r + j to rank j.
    splits = [j + 1 for j in range(hvd.size())]
    mine = [100 * hvd.rank() + j for j in range(hvd.size()) for _ in range(j + 1)]
    got, counts = hvd.alltoall(tf.constant(mine), splits=tf.constant(splits))
    return got.numpy().tolist(), counts.numpy().tolist()


def alltoall(cluster: Cluster, proof: Proof) -> None:
    """Each rank gets its share of what every rank sends, uneven splits included."""
    answers = _answers(cluster, proof, _alltoall)
    n = len(answers)
    for rank, (got, counts) in enumerate(answers):
        want = [100 * sender + rank for sender in range(n) for _ in range(rank + 1)]
        proof.equal(f"got.{rank}", got, want)
        proof.equal(f"counts.{rank}", counts, [rank + 1] * n)


def _trained_by_fit() -> list[Any]:
    """Let every rank begin elsewhere, with its own data; the callbacks have to join them."""
    import horovod.tensorflow.keras as hvd

    keras = training.keras()
    x, y = training.data()
    x, y = x[hvd.rank() :: hvd.size()], y[hvd.rank() :: hvd.size()]
    model = training.model([one + hvd.rank() for one in training.start()])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.Adam(0.05)), loss="mse")
    callbacks = [
        hvd.callbacks.BroadcastGlobalVariablesCallback(0),
        hvd.callbacks.MetricAverageCallback(),
    ]
    history = model.fit(x, y, batch_size=8, epochs=4, verbose=0, callbacks=callbacks)
    return [*model.get_weights(), [float(one) for one in history.history["loss"]]]


def _trained_by_loop() -> list[Any]:
    """Descend by hand on this rank's share; the tape has to average over all shares."""
    import horovod.tensorflow as hvd
    import tensorflow as tf

    keras = training.keras()
    x, y = training.data()
    x, y = x[hvd.rank() :: hvd.size()], y[hvd.rank() :: hvd.size()]
    model = training.model([one + hvd.rank() for one in training.start()])
    hvd.broadcast_variables(training.variables(model), root_rank=0)
    optimizer = keras.optimizers.SGD(training.RATE)

    def step() -> None:
        with tf.GradientTape() as plain:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        tape = hvd.DistributedGradientTape(plain)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    for _ in range(training.STEPS):
        step()
    return list(model.get_weights())


def _trained_unbuilt() -> Any:
    """Fit a model that its first batch builds; with XLA where Keras 3 would use it on a GPU."""
    import horovod.tensorflow as hvd
    import horovod.tensorflow.keras as hvd_keras

    x, y = training.data()
    x, y = x[hvd.rank() :: hvd.size()], y[hvd.rank() :: hvd.size()]
    model = training.unbuilt(training.start())
    optimizer = hvd_keras.DistributedOptimizer(training.keras().optimizers.SGD(training.RATE))
    keras2 = training.keras().__version__.startswith("2.")
    model.compile(optimizer, loss="mse", jit_compile=not keras2)
    model.fit(x, y, batch_size=len(x), epochs=training.STEPS, shuffle=False, verbose=0)
    return model.get_weights()


def _keras() -> dict[str, Any]:
    return {
        "keras": training.keras().__version__,
        "fit": _trained_by_fit(),
        "loop": _trained_by_loop(),
        "unbuilt": _trained_unbuilt(),
    }


def _same_weights(
    cluster: Cluster, proof: Proof, component: str, answers: list[dict[str, Any]]
) -> None:
    """Demand equal weights on all ranks; but for ``fit``, they are also numpy's on all the data."""
    version = cluster.expect.components[component]
    for rank, answer in enumerate(answers):
        proof.equal(f"keras.{rank}", answer["keras"], version)
        for name in ("fit", "loop"):
            first = answers[0][name]
            proof.close(f"{name}.rank {rank} minus rank 0", answer[name], first, within=0)
        for number, want in enumerate(answers[0]["unbuilt"]):
            apart = answer["unbuilt"][number]
            proof.close(f"unbuilt.{number}.rank {rank} minus rank 0", apart, want, within=0)
    losses = answers[0]["fit"][-1]
    proof.below("fit.last loss over first", losses[-1] / losses[0], 0.8)
    for number, want in enumerate(training.by_hand()):
        for name in ("loop", "unbuilt"):
            got = answers[0][name][number]
            proof.close(f"{name}.weights.{number}", got, want, within=1e-5)


def keras(cluster: Cluster, proof: Proof) -> None:
    """Keras through Horovod: ranks that begin apart and see other data end with one model."""
    _same_weights(cluster, proof, "keras", _answers(cluster, proof, _keras))


def _trained_by_own_step() -> dict[str, Any]:
    """Let a ``train_step`` apply its gradients itself; return the weights and their digest."""
    import horovod.tensorflow as hvd
    import horovod.tensorflow.keras as hvd_keras

    x, y = training.data()
    x, y = x[hvd.rank() :: hvd.size()], y[hvd.rank() :: hvd.size()]
    plain = training.model([one + hvd.rank() for one in training.start()])
    # Not the callback: a model that its first batch builds is broadcast after its first step.
    hvd.broadcast_variables(training.variables(plain), root_rank=0)
    model = training.own_step(plain)
    model.compile(hvd_keras.DistributedOptimizer(training.keras().optimizers.SGD(training.RATE)))
    model.fit(x, y, batch_size=len(x), epochs=training.STEPS, shuffle=False, verbose=0)
    weights = list(model.get_weights())
    digest = hashlib.sha256(b"".join(one.tobytes() for one in weights)).hexdigest()
    return {"weights": weights, "digest": digest}


def train_step(cluster: Cluster, proof: Proof) -> None:
    """``apply_gradients`` in a ``train_step`` reduces: all ranks end as the whole batch does."""
    _as_the_whole_batch(proof, _answers(cluster, proof, _trained_by_own_step))


def _as_the_whole_batch(proof: Proof, answers: list[dict[str, Any]]) -> None:
    for rank, answer in enumerate(answers):
        proof.equal(f"digest.rank {rank}", answer["digest"], answers[0]["digest"])
    for number, want in enumerate(training.by_hand()):
        proof.close(f"weights.{number}", answers[0]["weights"][number], want, within=1e-5)


def _legacy_keras() -> dict[str, Any]:
    return {**_keras(), "train_step": _trained_by_own_step()}


def legacy_keras(cluster: Cluster, proof: Proof) -> None:
    """All of this with tf-keras, in processes with ``TF_USE_LEGACY_KERAS=1``."""
    answers = _answers(cluster, proof, _legacy_keras, fresh.LEGACY_KERAS)
    _same_weights(cluster, proof, "tf-keras", answers)
    _as_the_whole_batch(proof, [answer["train_step"] for answer in answers])


def _spark_rank(offset: float) -> Any:
    import socket

    import horovod.tensorflow as hvd
    import tensorflow as tf

    hvd.init()
    total = hvd.allreduce(tf.constant(offset + hvd.rank()), op=hvd.Sum)
    return hvd.rank(), hvd.size(), float(total), socket.gethostname()


def spark_run(cluster: Cluster, proof: Proof) -> None:
    """Horovod's own launcher on Spark, ``horovod.spark.run``."""
    import horovod.spark

    n = len(cluster.expect.worker_hosts)
    cluster.context  # noqa: B018 - horovod.spark takes the active context
    answers = horovod.spark.run(
        _spark_rank, args=(5.0,), num_proc=n, use_gloo=True, start_timeout=60, verbose=0
    )
    hosts = sorted(host for _, _, _, host in answers)
    proof.equal("hosts", hosts, sorted(cluster.expect.worker_hosts))
    total = 5.0 * n + n * (n - 1) / 2
    for rank, answer in enumerate(answers):
        proof.equal(f"answer.{rank}", answer[:3], [rank, n, total])
