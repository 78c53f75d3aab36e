"""Horovod ranks as barrier tasks, launched without ``sparkdl``: that has checks of its own."""

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from . import fresh
from .cluster import Cluster


def on_ranks(
    cluster: Cluster, function: Callable[[], Any], environment: Mapping[str, str] | None = None
) -> list[tuple[str, Any]]:
    """Call ``function`` on one rank per worker with Horovod up; return (host, value) by rank.

    Ranks are Spark's Python workers, which serve many jobs. With an ``environment``, each is a
    new process, which starts with these variables.
    """
    from horovod.runner.http.http_server import RendezvousServer

    server = RendezvousServer()
    port = server.start()
    driver = cluster.expect.driver_host

    def task(_rows: Any) -> Any:
        from pyspark import BarrierTaskContext

        rank = BarrierTaskContext.get().partitionId()
        if environment is not None:
            variables = {**environment, **_environment(rank, ranks, driver, port)}
            return iter([(rank, socket.gethostname(), fresh.call(alone, variables))])
        before = dict(os.environ)
        os.environ.update(_environment(rank, ranks, driver, port))
        import horovod.tensorflow as hvd

        hvd.init()
        try:
            answer = function()
        finally:
            hvd.shutdown()
            for name in os.environ.keys() - before.keys():
                del os.environ[name]
        return iter([(rank, socket.gethostname(), answer)])

    def alone() -> Any:
        import horovod.tensorflow as hvd

        hvd.init()
        return function()

    try:
        context, ranks = cluster.context, len(cluster.expect.worker_hosts)
        job = context.parallelize(range(ranks), ranks).barrier().mapPartitions(task)
        return [(host, value) for _, host, value in sorted(job.collect())]
    finally:
        server.stop()


def _environment(rank: int, size: int, driver: str, port: int) -> dict[str, str]:
    """Return what Gloo's rendezvous wants to know; one rank on each host."""
    return {
        "HOROVOD_HOSTNAME": socket.gethostname(),
        "HOROVOD_RANK": str(rank),
        "HOROVOD_SIZE": str(size),
        "HOROVOD_LOCAL_RANK": "0",
        "HOROVOD_LOCAL_SIZE": "1",
        "HOROVOD_CROSS_RANK": str(rank),
        "HOROVOD_CROSS_SIZE": str(size),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": socket.gethostbyname(driver),
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_GLOO_TIMEOUT_SECONDS": "60",
    }
