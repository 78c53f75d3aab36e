"""JupyterLab beside a standing cluster of a Kubernetes: a Job, whose pod is restarted in place."""

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from mlruntime.cluster.description import NOTEBOOK_PORT
from mlruntime.cluster.kubernetes import pods as pods_
from mlruntime.cluster.kubernetes.jobs import CONTAINER, await_pod, program_of, selector
from mlruntime.cluster.kubernetes.kubectl import Kubectl
from mlruntime.cluster.kubernetes.standalone import remove, removed_on_failure
from mlruntime.cluster.kubernetes.standing import RUN, KubernetesCluster
from mlruntime.cluster.notebook import (
    ADDRESS,
    HAS_JUPYTER,
    HEALTHY,
    NODE,
    READY_SECONDS,
    NotebookOptions,
    OpenNotebook,
    address_of,
    already,
    must_have_jupyter,
    none_there,
)
from mlruntime.cluster.running import ClusterFailed
from mlruntime.errors import CommandFailed

_PAUSE: Final = 0.5
# How often Kubernetes starts it again in its pod, where its files are, before it gives up.
_RESTARTS: Final = 100


def open_notebook(
    kube: Kubectl,
    cluster: KubernetesCluster,
    wanted: NotebookOptions,
    templates: Mapping[str, str],
    *,
    ready: float = READY_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> OpenNotebook:
    """Return a cluster's notebook server once it answers, started if there is none that runs.

    A new one is removed again when that fails or is interrupted. Raises ``UsageError`` when there
    is one already and ``wanted`` asks for more than another port of this host.
    """
    full, deadline = f"{cluster.name}-{NODE}", clock() + ready
    there = kube.items("jobs", selector(full))
    if there and not _over(there[0]):
        if replace(wanted, port=None) != NotebookOptions():
            raise already(cluster.name)
        pod = _answering(kube, full, deadline, clock)
        return _opened(kube, pod, wanted.port, started=False)
    wanted.must_be_kept(cluster.spec.mounts)
    master = (f"{cluster.name}-master-0", "--container=master")
    must_have_jupyter(
        kube.run("exec", *master, "--", *HAS_JUPYTER).splitlines(), cluster.spec.image
    )
    if there:
        remove(kube, selector(full))
    run = secrets.token_hex(4)
    documents = program_of(
        cluster,
        NODE,
        (NODE, *wanted.options()),
        templates,
        settings=wanted.settings,
        restarts=_RESTARTS,
        run=run,
    )
    kube.create(documents, dry=True)
    # What another one makes at this moment has another run, and is not removed.
    with removed_on_failure(kube, f"{selector(full)},{RUN}={run}"):
        kube.create(documents)
        pod = _answering(kube, full, deadline, clock)
        return _opened(kube, pod, wanted.port, started=True)


def stop_notebook(kube: Kubectl, cluster: KubernetesCluster) -> None:
    """Remove a cluster's notebook server; ``UsageError`` when it has none."""
    full = f"{cluster.name}-{NODE}"
    if not kube.items("jobs", selector(full)):
        raise none_there(cluster.name)
    remove(kube, selector(full))


def _over(job: Mapping[str, Any]) -> bool:
    conditions = job.get("status", {}).get("conditions") or ()
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


def _answering(kube: Kubectl, full: str, deadline: float, clock: Callable[[], float]) -> str:
    """Return the name of the server's pod once JupyterLab answers in it."""
    while True:
        pod = await_pod(kube, full, pods_.started)
        name = pods_.name_of(pod)
        with suppress(CommandFailed):
            kube.run("exec", name, f"--container={CONTAINER}", "--", *HEALTHY)
            return name
        if clock() > deadline:
            log = ""
            with suppress(CommandFailed):
                log = kube.run("logs", name, "--tail=10").strip()
            raise ClusterFailed("JupyterLab did not answer in time", why=log or "no output")
        time.sleep(_PAUSE)


def _opened(kube: Kubectl, pod: str, port: int | None, *, started: bool) -> OpenNotebook:
    namespace = f" --namespace {kube.namespace}" if kube.namespace else ""
    ports = f"{port}:{NOTEBOOK_PORT}" if port else f"{NOTEBOOK_PORT}"
    said = kube.run("exec", pod, f"--container={CONTAINER}", "--", *ADDRESS)
    return OpenNotebook(
        address=address_of(said.splitlines(), f"localhost:{port or NOTEBOOK_PORT}"),
        started=started,
        forward=f"kubectl{namespace} port-forward pod/{pod} {ports}",
    )
