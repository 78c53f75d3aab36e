"""``sparkdl.HorovodRunner``: really distributed, and equal to training on one machine."""

import time
from typing import Any

from . import training
from .cluster import Cluster
from .harness import Mismatch, Proof


def train(steps: int) -> dict[str, Any]:
    """Train on this rank's share of the rows; return every rank's weights, to compare them.

    Only rank 0 starts from the given weights: the broadcast has to bring them to the others.
    """
    import horovod.tensorflow.keras as hvd
    import keras
    from horovod.tensorflow import broadcast_variables

    hvd.init()
    x, y = training.data()
    x, y = x[hvd.rank() :: hvd.size()], y[hvd.rank() :: hvd.size()]
    start = training.start()
    model = training.model(start if hvd.rank() == 0 else [one * 0 - 3 for one in start])
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(training.RATE))
    model.compile(optimizer, loss="mse")
    # Not the callback of that name: it broadcasts after the first step, so that this step's
    # gradients would come from different weights.
    broadcast_variables(training.variables(model), root_rank=0)
    model.fit(x, y, batch_size=len(x), epochs=steps, shuffle=False, verbose=0)
    return _gather(model.get_weights())


def _gather(weights: list[Any]) -> dict[str, Any]:
    import socket

    import horovod.tensorflow as hvd
    import tensorflow as tf

    flat = tf.concat([tf.reshape(tf.constant(one), [-1]) for one in weights], axis=0)
    return {
        "size": hvd.size(),
        "ranks": hvd.allgather(flat[None, :], name="check.weights").numpy().tolist(),
        "hosts": hvd.allgather_object(socket.gethostname()),
    }


def flat(weights: list[Any]) -> list[float]:
    """Return all numbers of some arrays in one list."""
    return [float(number) for one in weights for number in one.reshape(-1)]


def equivalence(cluster: Cluster, proof: Proof) -> None:
    """Ranks on every worker end with one and the same weights: those of the whole batch."""
    import keras
    from sparkdl import HorovodRunner

    n = len(cluster.expect.worker_hosts)
    cluster.context  # noqa: B018 - the runner takes the active session
    answer = HorovodRunner(np=n).run(train, steps=training.STEPS)
    proof.equal("size", answer["size"], n)
    proof.equal("hosts", sorted(answer["hosts"]), sorted(cluster.expect.worker_hosts))
    ranks = answer["ranks"]
    for rank in range(1, n):
        proof.equal(f"rank {rank} minus rank 0", furthest(ranks[rank], ranks[0]), 0.0)
    proof.close("against numpy", ranks[0], flat(training.by_hand()), within=1e-5)
    x, y = training.data()
    model = training.model(training.start())
    model.compile(keras.optimizers.SGD(training.RATE), loss="mse")
    model.fit(x, y, batch_size=len(x), epochs=training.STEPS, shuffle=False, verbose=0)
    proof.close("against one process", ranks[0], flat(model.get_weights()), within=1e-5)


def furthest(one: list[float], other: list[float]) -> float:
    """Return the largest difference between two lists of numbers."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def result(cluster: Cluster, proof: Proof) -> None:
    """Rank 0's value comes back, made from what every rank did in its own container."""
    from sparkdl import HorovodRunner

    def main(factor: int, *, note: str) -> dict[str, Any]:
        import os
        import socket

        import horovod.tensorflow as hvd

        hvd.init()
        everyone = hvd.allgather_object((hvd.rank(), socket.gethostname(), factor ** hvd.rank()))
        left = sorted(name for name in os.environ if name.startswith("CHECK_"))
        os.environ["CHECK_LEFT"] = "1"
        return {"rank": hvd.rank(), "everyone": sorted(everyone), "note": note, "left": left}

    n = len(cluster.expect.worker_hosts)
    cluster.context  # noqa: B018 - the runner takes the active session
    for turn in (1, 2):  # the second in the same Python workers
        answer = HorovodRunner(np=n).run(main, factor=3, note=f"turn {turn}")
        proof.equal(f"{turn}.rank", answer["rank"], 0)
        proof.equal(f"{turn}.note", answer["note"], f"turn {turn}")
        everyone = answer["everyone"]
        hosts = [host for _, host, _ in everyone]
        proof.equal(f"{turn}.hosts", sorted(hosts), sorted(cluster.expect.worker_hosts))
        values = [[rank, value] for rank, _, value in everyone]
        proof.equal(f"{turn}.values", values, [[rank, 3**rank] for rank in range(n)])
        proof.equal(f"{turn}.left in the environment", answer["left"], [])


def local(cluster: Cluster, proof: Proof) -> None:
    """``np=-2``: two new processes on the driver's host."""
    import os
    import socket

    from sparkdl import HorovodRunner

    def main(base: int) -> dict[str, Any]:
        import horovod.tensorflow as hvd

        hvd.init()
        here = (socket.gethostname(), os.getpid(), base + hvd.local_rank())
        return {"size": hvd.local_size(), "everyone": hvd.allgather_object(here)}

    answer = HorovodRunner(np=-2).run(main, base=40)
    proof.equal("local size", answer["size"], 2)
    hosts, pids, values = zip(*answer["everyone"], strict=True)
    proof.equal("hosts", hosts, [cluster.expect.driver_host] * 2)
    proof.equal("processes", len({*pids, os.getpid()}), 3)
    proof.equal("values", values, [40, 41])


def slots(cluster: Cluster, proof: Proof) -> None:
    """One rank too many is refused within seconds, and the message says how many fit."""
    from sparkdl import HorovodRunner

    n = len(cluster.expect.worker_hosts)
    proof.equal("slots", (cluster.context, cluster.slots())[1], n)
    start = time.monotonic()
    try:
        HorovodRunner(np=n + 1).run(lambda: None)
    except RuntimeError as refusal:
        message = str(refusal)
    else:
        raise Mismatch(f"np={n + 1} ran on {n} slots")
    proof.below("seconds", time.monotonic() - start, 25)
    proof.equal("says how many", f"{n} task slots" in message, True)
