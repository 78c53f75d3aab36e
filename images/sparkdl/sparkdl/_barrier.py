"""Ranks as the tasks of one Spark barrier stage."""

import contextlib
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from py4j.protocol import Py4JJavaError
from pyspark import BarrierTaskContext, SparkContext

from sparkdl import _rank
from sparkdl._errors import NotEnoughSlots, from_spark
from sparkdl._network import address_of, interface_for
from sparkdl._ranks import place
from sparkdl._rendezvous import Rendezvous, report_failure, report_start

# Executors of a new application are still registering; those of an old one are as many as
# they will be, give or take one that is being replaced.
_NEW_APPLICATION_SECONDS = 20.0
_SETTLE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class RankTask:
    """The function of each barrier task; partition i becomes the i-th placement."""

    payload: bytes
    host: str
    port: int

    def __call__(self, _rows: Iterable[int]) -> Iterator[bytes]:
        context = BarrierTaskContext.get()
        hosts = [info.address.rsplit(":", 1)[0] for info in context.getTaskInfos()]
        placement = place(hosts)[context.partitionId()]
        address = address_of(self.host)
        report_start(
            address,
            self.port,
            partition=context.partitionId(),
            rank=placement.rank,
            host=socket.gethostname(),
        )
        try:
            variables = _rank.environment(
                placement,
                address=address,
                port=self.port,
                interface=interface_for(placement.host, hosts),
            )
            result = _rank.run(self.payload, variables)
        except BaseException as error:
            # Before anything of this rank is torn down: so the driver hears of the cause
            # before it hears of what the cause did to the other ranks.
            with contextlib.suppress(OSError):
                report_failure(address, self.port, _rank.account(error, placement))
            if isinstance(error, Exception):
                raise
            raise RuntimeError(f"main ended with {error!r}") from error
        return iter([result] if placement.rank == 0 else [])


def run(context: SparkContext, payload: bytes, np: int) -> bytes:
    """Run ``payload`` on ``np`` ranks at once and return rank 0's pickled result."""
    host = context.getConf().get("spark.driver.host") or "localhost"
    with Rendezvous(host) as rendezvous:
        task = RankTask(payload=payload, host=host, port=rendezvous.port)
        job = context.parallelize(range(np), np).barrier().mapPartitions(task)
        try:
            results = job.collect()
        except Py4JJavaError as error:
            message = str(error.java_exception.getMessage())
            failure = from_spark(message, rendezvous.failures(), rendezvous.started(), np)
            if failure is None:
                raise
            raise failure from None
    return bytes(results[0])


def slots(context: SparkContext) -> int:
    """Return how many tasks the executors that are registered now can run at once."""
    scala = context._jsc.sc()
    profile = scala.resourceProfileManager().defaultResourceProfile()
    return int(scala.maxNumConcurrentTasks(profile))


def require_slots(context: SparkContext, np: int) -> int:
    """Return the number of slots, or raise ``NotEnoughSlots`` within seconds if under ``np``."""
    now = time.time()
    new_until = context.startTime / 1000 + _NEW_APPLICATION_SECONDS
    deadline = max(now + _SETTLE_SECONDS, new_until)
    while (found := slots(context)) < np:
        if time.time() >= deadline:
            raise NotEnoughSlots(
                f"np={np}, but the cluster has {found} task slots: every rank needs one at the "
                "same time. Lower np, or give the application more executors or cores."
            )
        time.sleep(0.1)
    return found
