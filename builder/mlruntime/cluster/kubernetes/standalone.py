"""Standalone clusters on a Kubernetes, started and asked for by way of ``kubectl``."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from mlruntime.cluster.kubernetes import pods as pods_
from mlruntime.cluster.kubernetes.following import followed
from mlruntime.cluster.kubernetes.kubectl import Kubectl, exceeded
from mlruntime.cluster.kubernetes.patience import RUNNING_SECONDS, STARTING_SECONDS, patiently
from mlruntime.cluster.kubernetes.standing import KINDS, RUN, known, label, nodes_of, short
from mlruntime.cluster.rendering import RenderRequest, render
from mlruntime.cluster.running import ClusterFailed
from mlruntime.cluster.signals import ended_as_by_ctrl_c, unimpressed
from mlruntime.cluster.status import ASK, NodeStatus, Status, read_master
from mlruntime.errors import MlruntimeError, UsageError

READY_SECONDS: Final = 180.0
# Between two questions: each is a process.
_PAUSE: Final = 0.5


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

    All that this made of it is removed again when that fails or is interrupted; of two that start
    clusters of one name at once, one gets it.
    """
    if wanted.name in known(kube):
        raise UsageError(
            f"there is a cluster {wanted.name} in {kube.place} already",
            hint=f"`mlruntime cluster down --on kubernetes {wanted.name}`, or another --name",
        )
    run = secrets.token_hex(4)
    files = render("kubernetes", replace(wanted, run=run), templates)
    description, others = files["standalone.yaml"].text.split("\n---\n", 1)
    rest = [files["secret.yaml"].text, others]
    begun = clock()
    kube.create([description, *rest], dry=True)
    with removed_on_failure(kube, f"{label(wanted.name)},{RUN}={run}"):
        kube.create([description])  # whoever makes this has the name
        kube.create(rest)
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
    kube.run("delete", KINDS, "--selector", selector, "--ignore-not-found", "--timeout=120s",
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
        found = patiently(partial(_pods, waiting.kube, waiting.name), STARTING_SECONDS)
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
    made = patiently(partial(kube.items, "statefulsets,jobs", selector), STARTING_SECONDS)
    owners = {item["metadata"]["uid"] for item in made}
    for event in patiently(partial(failed_to_create, kube), STARTING_SECONDS):
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


def status(kube: Kubectl, name: str) -> Status:
    """Return how a cluster's pods are, its jobs' too, and what its master says."""
    nodes = tuple(_status(pod) for pod in nodes_of(kube, name).values())
    return Status(name=name, nodes=nodes, master=master(kube, name))


def _status(pod: Mapping[str, Any]) -> NodeStatus:
    return pods_.status_of(pod, short(pod))


def logs(kube: Kubectl, name: str, node: str, *, tail: int, follow: bool) -> Iterator[str]:
    """Yield what a pod has written; with ``follow`` also what it writes, until it ends."""
    there = nodes_of(kube, name)
    if node not in there:
        raise UsageError(f"cluster {name} has no {node}", hint=f"it has: {', '.join(there)}")
    pod, container = pods_.name_of(there[node]), there[node]["spec"]["containers"][0]["name"]
    if not follow:
        yield from kube.lines("logs", pod, f"--container={container}", f"--tail={tail}")
        return

    def ended() -> str | None:
        found = patiently(partial(nodes_of, kube, name), RUNNING_SECONDS).get(node)
        if found is None:
            return "gone"
        return None if pods_.ended(found) is None else "ended"

    yield from followed(kube, pod, container, ended, tail=tail, gone=lambda how: how == "gone")
