"""What pods of a Kubernetes say of themselves. Core: values in, values out."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mlruntime.cluster.status import NodeStatus

# A container that waits for one of these will not start by itself; what to do about it.
_STUCK: Final = {
    "ErrImageNeverPull": "the node has no such image, and may not pull one",
    "ImagePullBackOff": "can the nodes pull it? Name it with --image REGISTRY/NAME@sha256:…",
    "InvalidImageName": "name an image with --image REGISTRY/NAME@sha256:…",
    "CreateContainerConfigError": "is everything there that the pod uses?",
    "CreateContainerError": "`kubectl describe pod` says more",
    "CrashLoopBackOff": "`kubectl logs --previous` shows what it wrote",
}


def name_of(thing: Mapping[str, Any]) -> str:
    """Return an object's name."""
    return str(thing["metadata"]["name"])


def stuck(pods: Iterable[Mapping[str, Any]]) -> tuple[str, str, str] | None:
    """Return what the first pod that cannot start says: what, why and what to do."""
    for pod in pods:
        for container in _containers(pod):
            waiting = container.get("state", {}).get("waiting", {})
            if hint := _STUCK.get(waiting.get("reason", "")):
                what = f"pod {name_of(pod)} does not start: {waiting['reason']}"
                return what, str(waiting.get("message", "")), hint
    return None


def unscheduled(pods: Iterable[Mapping[str, Any]]) -> str | None:
    """Return why a pod has no node yet, in the scheduler's words."""
    for pod in pods:
        for condition in pod["status"].get("conditions", ()):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return str(condition.get("message", condition.get("reason", "")))
    return None


def status_of(pod: Mapping[str, Any], name: str) -> NodeStatus:
    """Return how a pod is, under a name that people know."""
    state = pod["status"].get("phase", "Pending").lower()
    main = pod["status"].get("containerStatuses") or [{}]
    told = main[0].get("state", {})
    if pod["metadata"].get("deletionTimestamp"):
        state = "is ending"
    elif "terminated" in told:
        state = f"exited with {told['terminated']['exitCode']}"
        if told["terminated"].get("reason") == "OOMKilled":
            state += ", out of memory"
    elif "running" in told:
        state = "is running" if main[0].get("ready") else "is starting"
    elif told.get("waiting", {}).get("reason"):
        state = f"waits: {told['waiting']['reason']}"
    return NodeStatus(
        name=name,
        state=state,
        running="running" in told,
        restarts=sum(one.get("restartCount", 0) for one in main),
    )


def ended(pod: Mapping[str, Any]) -> tuple[int, bool] | None:
    """Return a pod's exit code, and whether it used up its memory; ``None`` while it runs."""
    for container in pod["status"].get("containerStatuses") or ():
        if over := container.get("state", {}).get("terminated"):
            return int(over["exitCode"]), over.get("reason") == "OOMKilled"
    if pod["status"].get("phase") == "Failed":  # evicted, for example: no container has ended
        return 1, False
    return None


def runs(pod: Mapping[str, Any], image: str) -> str:
    """Return ``image`` if that is what a pod runs.

    A node that has pulled an image says by which digest. One to which it was brought otherwise may
    only know its own id of it; then a name with a digest, which it accepted, says as much.
    """
    requested = str(pod["spec"]["containers"][0]["image"])
    told = str(pod["status"]["containerStatuses"][0].get("imageID", ""))
    if "@" in told and told.rpartition("@")[2] != image.rpartition("@")[2]:
        return told
    return requested


def started(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod's program has written what it will, or can write."""
    main = pod["status"].get("containerStatuses") or ()
    return any("running" in c.get("state", {}) or "terminated" in c.get("state", {}) for c in main)


def _containers(pod: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    status = pod["status"]
    return (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
