"""Spark's barrier mode: tasks that start together, and an early word when they cannot."""

import socket
import time
from typing import Any

from .cluster import Cluster
from .harness import Mismatch, Proof


def allgather(cluster: Cluster, proof: Proof) -> None:
    """Every task hears from every other, across the workers."""

    def task(_rows: Any) -> Any:
        from pyspark import BarrierTaskContext

        context = BarrierTaskContext.get()
        number = context.partitionId()
        messages = context.allGather(f"{number}:{(number + 1) ** 3}")
        return iter([(number, socket.gethostname(), messages)])

    context, slots = cluster.context, cluster.slots()
    answers = context.parallelize(range(slots), slots).barrier().mapPartitions(task).collect()
    want = [f"{number}:{(number + 1) ** 3}" for number in range(slots)]
    proof.equal("tasks", sorted(number for number, _, _ in answers), list(range(slots)))
    for number, _, messages in answers:
        proof.equal(f"messages.{number}", messages, want)
    proof.equal("hosts", {host for _, host, _ in answers}, set(cluster.expect.worker_hosts))


def slots(cluster: Cluster, proof: Proof) -> None:
    """One task more than there are slots is refused within seconds, and said to be so."""
    from py4j.protocol import Py4JJavaError

    context, many = cluster.context, cluster.slots() + 1
    proof.equal("slots", many - 1, len(cluster.expect.worker_hosts))
    start = time.monotonic()
    try:
        context.parallelize(range(many), many).barrier().mapPartitions(lambda rows: rows).collect()
    except Py4JJavaError as refusal:
        message = str(refusal.java_exception.getMessage())
    else:
        raise Mismatch(f"{many} barrier tasks ran on {many - 1} slots")
    proof.below("seconds", time.monotonic() - start, 15 * cluster.expect.time_factor)
    proof.equal("names the reason", "more slots than" in message, True)
