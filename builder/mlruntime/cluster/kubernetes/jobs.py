"""Programs on a cluster of a Kubernetes: each is a Job, whose pod is its driver."""

import base64
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from mlruntime.cluster.jobs import FinishedJob, Job
from mlruntime.cluster.kubernetes import pods as pods_
from mlruntime.cluster.kubernetes.following import followed
from mlruntime.cluster.kubernetes.kubectl import Kubectl
from mlruntime.cluster.kubernetes.patience import (
    RUNNING_SECONDS,
    STARTING_SECONDS,
    Unanswered,
    patiently,
)
from mlruntime.cluster.kubernetes.standalone import (
    READY_SECONDS,
    raise_if_stuck,
    remove,
    removed_on_failure,
)
from mlruntime.cluster.kubernetes.standing import OURS, RUN, KubernetesCluster
from mlruntime.cluster.rendering import JobFiles, RenderRequest, render
from mlruntime.cluster.running import ClusterFailed
from mlruntime.cluster.signals import ended_as_by_ctrl_c, unimpressed
from mlruntime.cluster.starting import HOME
from mlruntime.errors import MlruntimeError, UsageError

_LOG: Final = logging.getLogger(__name__)
# Of a ConfigMap, all in all; Base64 and the object itself need some of it.
_LIMIT: Final = 1 << 20
PAUSE: Final = 0.5
# Of a job's pod, the one that its program runs in.
CONTAINER: Final = "job"


def submit(
    kube: Kubectl,
    cluster: KubernetesCluster,
    job: Job,
    templates: Mapping[str, str],
    on_line: Callable[[str], None],
) -> FinishedJob:
    """Run a program to its end, passing on what it writes; then nothing of it is left.

    Ctrl-C ends it. When this process is killed, or when Kubernetes does not answer for minutes, the
    program goes on; ``down`` removes it.
    """
    ident = _ident()
    full, documents = _documents(cluster, ident, job, templates)
    with ended_as_by_ctrl_c():
        try:
            kube.create(documents)
            code, out_of_memory = _watched(kube, full, on_line)
        except Unanswered as error:
            shown = f"mlruntime cluster logs --on kubernetes {cluster.name} {ident} --follow"
            raise Unanswered(
                f"{error.what}: how {ident} goes on is not known",
                why=error.why,
                hint=f"it was not ended: `{shown}` once Kubernetes answers; `down` removes it",
            ) from None
        except BaseException:
            with unimpressed():
                remove(kube, selector(full))
            raise
        with unimpressed():
            _remove_ended(kube, cluster, ident, full)
    return FinishedJob(job=ident, exit_code=code, out_of_memory=out_of_memory)


def _remove_ended(kube: Kubectl, cluster: KubernetesCluster, ident: str, full: str) -> None:
    """Remove a job whose end is known: that it cannot be removed must not hide how it ended."""
    try:
        patiently(lambda: remove(kube, selector(full)), STARTING_SECONDS)
    except MlruntimeError as error:
        hint = f"`mlruntime cluster down --on kubernetes {cluster.name}` removes it"
        _LOG.warning("%s has ended and is still there (%s): %s", ident, error.what, hint)


def detach(
    kube: Kubectl, cluster: KubernetesCluster, job: Job, templates: Mapping[str, str]
) -> str:
    """Start a program and leave it running; return the job's name for ``logs`` and ``status``."""
    ident = _ident()
    full, documents = _documents(cluster, ident, job, templates)
    with removed_on_failure(kube, selector(full)):
        kube.create(documents)
        await_pod(kube, full, pods_.started)
    return ident


def start_idle(
    kube: Kubectl, cluster: RenderRequest, templates: Mapping[str, str], ident: str = "driver"
) -> Any:
    """Start a pod beside a cluster that does nothing; return it once it runs.

    It has the labels of the cluster, with which it is removed.
    """
    full = f"{cluster.name}-{ident}"
    kube.create(program_of(cluster, ident, ("sleep", "infinity"), templates))
    pod = await_pod(kube, full, pods_.started)
    if over := pods_.ended(pod):
        raise ClusterFailed(f"pod {pods_.name_of(pod)} ended at once with {over[0]}")
    return pod


def program_of(
    cluster: RenderRequest | KubernetesCluster,
    ident: str,
    command: Sequence[str],
    templates: Mapping[str, str],
    *,
    settings: Mapping[str, str] | None = None,
    restarts: int = 0,
    run: str = "",
) -> list[str]:
    """Return the objects of a job that runs what is in the image, and has no files."""
    full = f"{cluster.name}-{ident}"
    job = JobFiles(
        name=full,
        program=full,
        command=tuple(map(_literally, command)),
        files={},
        settings=settings or {},
        restarts=restarts,
    )
    wanted = RenderRequest(
        name=cluster.name, spec=cluster.spec, secret="", spark="", job=job, run=run
    )
    text = render("kubernetes", wanted, templates)["job.yaml"].text
    return [_config(cluster.name, full, {}, run), text]


@contextmanager
def beside(
    kube: Kubectl, cluster: KubernetesCluster, templates: Mapping[str, str]
) -> Iterator[str]:
    """Yield the name of a pod in which applications of the cluster can be started by hand."""
    ident = _ident()
    wanted = RenderRequest(name=cluster.name, spec=cluster.spec, secret="", spark="")
    with ended_as_by_ctrl_c():
        try:
            yield pods_.name_of(start_idle(kube, wanted, templates, ident))
        finally:
            with unimpressed():
                remove(kube, selector(f"{cluster.name}-{ident}"))


def _ident() -> str:
    return f"job-{secrets.token_hex(3)}"


def selector(full: str) -> str:
    """Return the selector of a job's objects, by its name with the cluster's."""
    return f"{OURS},io.mlruntime/job={full}"


def _documents(
    cluster: KubernetesCluster, ident: str, job: Job, templates: Mapping[str, str]
) -> tuple[str, list[str]]:
    """Return a job's full name, its files as a ConfigMap, and the Job."""
    full = f"{cluster.name}-{ident}"
    sent = job.sent()
    size = sum(path.stat().st_size for path in sent.values())
    if size > _LIMIT:
        raise UsageError(
            f"the files of this job are {size / (1 << 20):.1f} MiB",
            why="they go into a ConfigMap, of which Kubernetes takes 1 MiB",
            hint="put the large ones on a volume of the cluster, or into an image (--with)",
        )
    keys = {f"{HOME}/{name}": f"file-{n}" for n, name in enumerate(sent)}
    content = {
        key: base64.b64encode(path.read_bytes()).decode()
        for key, path in zip(keys.values(), sent.values(), strict=True)
    }
    files = JobFiles(
        name=full,
        program=full,
        command=tuple(map(_literally, job.command())),
        files=keys,
        environment={key: _literally(value) for key, value in job.environment().items()},
        settings=job.settings or {},
    )
    wanted = RenderRequest(name=cluster.name, spec=cluster.spec, secret="", spark="", job=files)
    text = _config(cluster.name, full, content)
    return full, [text, render("kubernetes", wanted, templates)["job.yaml"].text]


def _config(cluster: str, full: str, content: Mapping[str, str], run: str = "") -> str:
    """Return the ConfigMap of a job's files; ``content`` is in Base64, by key."""
    labels = {
        "app.kubernetes.io/managed-by": "mlruntime",
        "app.kubernetes.io/instance": cluster,
        "io.mlruntime/job": full,
        **({RUN: run} if run else {}),
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": full, "labels": labels},
            "binaryData": content,
        }
    )


def _literally(word: str) -> str:
    """Return a word in which Kubernetes replaces no ``$(NAME)``."""
    return word.replace("$(", "$$(")


def _watched(kube: Kubectl, full: str, on_line: Callable[[str], None]) -> tuple[int, bool]:
    """Pass on what a job writes; return its exit code, and whether it used up its memory."""
    log = followed(
        kube,
        pods_.name_of(await_pod(kube, full, pods_.started)),
        CONTAINER,
        lambda: _ended(kube, full),
    )
    while True:
        try:
            on_line(next(log))
        except StopIteration as end:
            code, out_of_memory = end.value
            return code, out_of_memory


def _ended(kube: Kubectl, full: str) -> tuple[int, bool] | None:
    found = patiently(lambda: kube.items("pods", selector(full)), RUNNING_SECONDS)
    if not found:
        raise ClusterFailed(
            f"the pod of job {full} is gone", why="somebody has deleted it, or its node was lost"
        )
    return pods_.ended(found[0])


def await_pod(kube: Kubectl, full: str, there: Callable[[Any], bool]) -> Any:
    """Return the pod of a job once ``there`` says so; raise what keeps it from starting."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        found = patiently(lambda: kube.items("pods", selector(full)), STARTING_SECONDS)
        if found and (there(found[0]) or pods_.ended(found[0])):
            return found[0]
        raise_if_stuck(kube, found, 1, selector(full))
        if time.monotonic() > deadline:
            raise ClusterFailed(
                f"job {full} did not start in time",
                why=pods_.unscheduled(found) or "it has no pod yet",
            )
        time.sleep(PAUSE)
