"""Changing the number of a cluster's workers on a Kubernetes."""

import time
from collections.abc import Callable

from mlruntime.cluster.kubernetes.kubectl import Kubectl
from mlruntime.cluster.kubernetes.standalone import (
    READY_SECONDS,
    Waiting,
    await_pods,
    await_workers,
    failed_to_create,
)
from mlruntime.cluster.kubernetes.standing import KubernetesCluster
from mlruntime.cluster.signals import ended_as_by_ctrl_c, unimpressed


def scale(
    kube: Kubectl,
    cluster: KubernetesCluster,
    workers: int,
    *,
    say: Callable[[str], None] = lambda _: None,
    ready: float = READY_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[int, ...]:
    """Bring the number of workers to ``workers``; return the numbers of those there are then.

    Those with the highest numbers go; Spark runs their tasks again elsewhere. New ones that cannot
    be started, or are interrupted, are removed again.
    """
    waiting = Waiting(
        kube=kube,
        name=cluster.name,
        workers=workers,
        say=say,
        deadline=clock() + ready,
        clock=clock,
        known=frozenset(e["metadata"]["resourceVersion"] for e in failed_to_create(kube)),
    )
    have = cluster.spec.workers
    with ended_as_by_ctrl_c():
        try:
            _ask_for(kube, cluster.name, workers)
            await_pods(waiting)
            await_workers(waiting)
        except BaseException:
            if workers > have:
                with unimpressed():
                    _ask_for(kube, cluster.name, have)
            raise
    return tuple(range(workers))


def _ask_for(kube: Kubectl, name: str, workers: int) -> None:
    kube.run("scale", f"statefulset/{name}-worker", f"--replicas={workers}")
