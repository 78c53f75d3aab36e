"""Standalone clusters on a Kubernetes, started and asked for by way of ``kubectl``.

What is there is asked from Kubernetes each time; all of it has the label ``managed-by: mlruntime``.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.kubernetes import pods as pods_
from mlruntime.cluster.kubernetes.kubectl import Kubectl, exceeded
from mlruntime.cluster.rendering import RenderRequest, render
from mlruntime.cluster.running import ClusterFailed
from mlruntime.cluster.signals import ended_as_by_ctrl_c, unimpressed
from mlruntime.cluster.status import ASK, NodeStatus, Status, read_master
from mlruntime.documents.reading import did_you_mean
from mlruntime.errors import MlruntimeError, UsageError

READY_SECONDS: Final = 180.0
DESCRIBED: Final = "io.mlruntime/cluster"
OURS: Final = "app.kubernetes.io/managed-by=mlruntime"
_KINDS: Final = ("statefulsets,jobs,services,configmaps,secrets,networkpolicies,"
                 "poddisruptionbudgets")  # fmt: skip
# Between two questions: each is a process.
_PAUSE: Final = 0.5


def label(name: str, component: str | None = None) -> str:
    """Return the selector of a cluster's objects, or of those of one component."""
    more = f",app.kubernetes.io/component={component}" if component else ""
    return f"{OURS},app.kubernetes.io/instance={name}{more}"


@dataclass(frozen=True, kw_only=True, slots=True)
class KubernetesCluster:
    """A cluster as Kubernetes has it."""

    name: str
    spec: ClusterSpec
    ready: Mapping[str, tuple[int, int]]

    @property
    def complete(self) -> bool:
        """Tell whether all of its nodes are ready."""
        return all(ready >= wanted for ready, wanted in self.ready.values())


def up(
    kube: Kubectl,
    wanted: RenderRequest,
    templates: Mapping[str, str],
    *,
    say: Callable[[str], None] = lambda _: None,
    ready: float = READY_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, float]:
    """Start a cluster and wait until its workers have registered; return seconds by phase.

    All of it is removed again when that fails or is interrupted.
    """
    if wanted.name in standing(kube):
        raise UsageError(
            f"there is a cluster {wanted.name} in {kube.place} already",
            hint=f"`mlruntime cluster down --on kubernetes {wanted.name}`, or another --name",
        )
    files = render("kubernetes", wanted, templates)
    documents = [files["secret.yaml"].text, files["standalone.yaml"].text]
    begun = clock()
    kube.create(documents, dry=True)
    with removed_on_failure(kube, label(wanted.name)):
        kube.create(documents)
        created = clock()
        say(f"starting {1 + wanted.spec.workers} pods in {kube.place}")
        waiting = Waiting(
            kube=kube,
            name=wanted.name,
            workers=wanted.spec.workers,
            say=say,
            deadline=begun + ready,
            clock=clock,
        )
        await_pods(waiting)
        running = clock()
        await_workers(waiting)
    return {
        "created": round(created - begun, 2),
        "pods": round(running - created, 2),
        "ready": round(clock() - running, 2),
    }


@contextmanager
def removed_on_failure(kube: Kubectl, selector: str) -> Iterator[None]:
    """Remove what has these labels when the block fails, or is interrupted."""
    with ended_as_by_ctrl_c():
        try:
            yield
        except BaseException:
            with unimpressed():
                remove(kube, selector)
            raise


def remove(kube: Kubectl, selector: str) -> None:
    """Remove everything with these labels, and wait until it is gone."""
    kube.run("delete", _KINDS, "--selector", selector, "--ignore-not-found", "--timeout=120s",
             seconds=150)  # fmt: skip
    kube.run("wait", "pods", "--selector", selector, "--for=delete", "--timeout=120s", seconds=150)


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """For which cluster to wait, until it has how many workers, and until when.

    ``known`` are versions of events from before, which are about something else.
    """

    kube: Kubectl
    name: str
    workers: int
    say: Callable[[str], None]
    deadline: float
    clock: Callable[[], float]
    known: frozenset[str] = frozenset()


def await_pods(waiting: Waiting) -> None:
    """Wait until a master and so many workers run, and no more."""
    said, wait, expected = "", None, 1 + waiting.workers
    while True:
        found = _pods(waiting.kube, waiting.name)
        raise_if_stuck(waiting.kube, found, expected, label(waiting.name), known=waiting.known)
        states = [status.state for status in map(_status, found)]
        have = states.count("is running")
        if have == len(found) == expected:
            return
        wait = pods_.unscheduled(found)
        line = f"{min(have, expected)} of {expected} pods are ready" + (
            f"; one has no node: {wait}" if wait else ""
        )
        if len(found) > expected:
            line = f"waiting for {len(found) - expected} pods to end"
        if line != said:
            waiting.say(line)
            said = line
        if waiting.clock() > waiting.deadline:
            raise ClusterFailed(
                f"cluster {waiting.name} was not ready in time: {have} of {expected} pods are",
                why=wait or "; ".join(f"{s.name} {s.state}" for s in map(_status, found)),
                hint="fewer workers, or less for each: --workers, --cores, --memory"
                if wait
                else None,
            )
        time.sleep(_PAUSE)


def _pods(kube: Kubectl, name: str) -> list[Any]:
    found = kube.items("pods", label(name))
    ours = ("master", "worker")
    return [p for p in found if p["metadata"]["labels"]["app.kubernetes.io/component"] in ours]


def failed_to_create(kube: Kubectl) -> list[Any]:
    """Return the events of the namespace that say of pods why they could not be made."""
    return list(kube.get("events", "--field-selector", "reason=FailedCreate")["items"])


def raise_if_stuck(
    kube: Kubectl,
    found: list[Any],
    expected: int,
    selector: str,
    *,
    known: frozenset[str] = frozenset(),
) -> None:
    """Raise what keeps pods from starting, unless time alone may mend it.

    Events whose versions are ``known`` are old ones.
    """
    if trouble := pods_.stuck(found):
        what, why, hint = trouble
        raise ClusterFailed(what, why=why or None, hint=hint)
    if len(found) >= expected:
        return
    owners = {item["metadata"]["uid"] for item in kube.items("statefulsets,jobs", selector)}
    for event in failed_to_create(kube):
        if event["metadata"]["resourceVersion"] in known:
            continue
        if event["involvedObject"].get("uid") in owners:
            message = str(event.get("message", ""))
            raise exceeded(message) or ClusterFailed("a pod could not be made", why=message)


def await_workers(waiting: Waiting) -> None:
    """Wait until the master says that so many workers have registered, and no more."""
    while True:
        told = master(waiting.kube, waiting.name)
        if told and told["alive_workers"] == waiting.workers:
            return
        if waiting.clock() > waiting.deadline:
            have = told["alive_workers"] if told else 0
            raise ClusterFailed(
                f"{have} of {waiting.workers} workers have registered in time",
                hint="does a NetworkPolicy or a service mesh keep pods from talking to each other?",
            )
        time.sleep(_PAUSE)


def master(kube: Kubectl, name: str) -> Mapping[str, int] | None:
    """Return what a cluster's master says of it; ``None`` when it does not answer."""
    url = "http://localhost:8080/json/"
    command = ("python3", "-c", ASK, url)
    with suppress(MlruntimeError):
        return read_master(
            kube.run("exec", f"{name}-master-0", "--container=master", "--", *command)
        )
    return None


def standing(kube: Kubectl) -> dict[str, KubernetesCluster]:
    """Return all clusters of the namespace by name."""
    found: dict[str, dict[str, Any]] = {}
    for item in kube.items("statefulsets,configmaps", OURS):
        labels = item["metadata"]["labels"]
        component = labels.get("app.kubernetes.io/component", "")
        if component in ("master", "worker") or DESCRIBED in item["metadata"].get(
            "annotations", {}
        ):
            found.setdefault(labels["app.kubernetes.io/instance"], {})[component] = item
    return {
        name: _cluster(name, parts)
        for name, parts in sorted(found.items())
        if parts.keys() >= {"master", "worker", "settings"}
    }


def _cluster(name: str, parts: Mapping[str, Any]) -> KubernetesCluster:
    described = parts["settings"]["metadata"]["annotations"][DESCRIBED]
    started = msgspec.json.decode(described, type=ClusterSpec)
    return KubernetesCluster(
        name=name,
        spec=replace(started, workers=parts["worker"]["spec"]["replicas"]),  # scaled since, maybe
        ready={
            role: (parts[role]["status"].get("readyReplicas", 0), parts[role]["spec"]["replicas"])
            for role in ("master", "worker")
        },
    )


def find(kube: Kubectl, name: str) -> KubernetesCluster:
    """Return a cluster; ``UsageError``, with those that there are, when it is not there."""
    known = standing(kube)
    if name not in known:
        kube.must_have_namespace()
        raise UsageError(
            f"there is no cluster {name!r} in {kube.place}",
            hint=did_you_mean(name, known)
            if known
            else "`mlruntime cluster up --on kubernetes` starts one",
        )
    return known[name]


def status(kube: Kubectl, name: str) -> Status:
    """Return how a cluster's pods are, its jobs' too, and what its master says."""
    nodes = tuple(_status(pod) for pod in nodes_of(kube, name).values())
    return Status(name=name, nodes=nodes, master=master(kube, name))


def nodes_of(kube: Kubectl, name: str) -> dict[str, Any]:
    """Return a cluster's pods by the name that people know; master first, jobs last."""
    found = {short(pod): pod for pod in kube.items("pods", label(name))}
    order = {"master": 0, "worker": 1}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0].split("-")[0], 2), item)))


def short(pod: Mapping[str, Any]) -> str:
    """Return a pod's name within its cluster: ``master-0``, ``worker-1``, ``job-7aea04``."""
    labels = pod["metadata"]["labels"]
    full = labels.get("io.mlruntime/job", pods_.name_of(pod))
    return str(full).removeprefix(f"{labels['app.kubernetes.io/instance']}-")


def _status(pod: Mapping[str, Any]) -> NodeStatus:
    return pods_.status_of(pod, short(pod))


def logs(kube: Kubectl, name: str, node: str, *, tail: int, follow: bool) -> Iterator[str]:
    """Yield what a pod has written."""
    known = nodes_of(kube, name)
    if node not in known:
        raise UsageError(f"cluster {name} has no {node}", hint=f"it has: {', '.join(known)}")
    container = known[node]["spec"]["containers"][0]["name"]
    words = ["logs", pods_.name_of(known[node]), f"--container={container}", f"--tail={tail}"]
    yield from kube.lines(*words, *(["--follow"] if follow else []))
