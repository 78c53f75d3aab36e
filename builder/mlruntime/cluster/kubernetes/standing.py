"""The clusters that a namespace has, as Kubernetes tells; nothing is kept in files that could lie.

All of a cluster has the label ``managed-by: mlruntime``. What ``up`` makes also has a label of that
run, so that who fails removes only what is their own. The ConfigMap with the description is made
first and removed last: while anything of a cluster is there, that is.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.kubernetes import pods as pods_
from mlruntime.cluster.kubernetes.kubectl import Kubectl
from mlruntime.documents.reading import did_you_mean
from mlruntime.errors import Unavailable, UsageError

DESCRIBED: Final = "io.mlruntime/cluster"
RUN: Final = "io.mlruntime/run"
OURS: Final = "app.kubernetes.io/managed-by=mlruntime"
# In the order in which they are removed.
KINDS: Final = ("statefulsets,jobs,pods,services,secrets,networkpolicies,"
                "poddisruptionbudgets,configmaps")  # fmt: skip
_INSTANCE: Final = "app.kubernetes.io/instance"
_COMPONENT: Final = "app.kubernetes.io/component"
# Labels of which one is enough to tell a cluster's objects from those of programs that ask
# Kubernetes for executors (native.yaml), which have the same name and are somebody else's.
_OURS_BY: Final = (RUN, "io.mlruntime/job")
_COMPONENTS: Final = ("master", "worker", "network")
_NONE: Final = "<none>"


def label(name: str, component: str | None = None) -> str:
    """Return the selector of a cluster's objects, or of those of one component."""
    more = f",{_COMPONENT}={component}" if component else ""
    return f"{OURS},{_INSTANCE}={name}{more}"


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Incomplete:
    """A cluster that lacks something: it is being started or removed, or that was broken off."""

    name: str
    why: str


def standing(kube: Kubectl) -> dict[str, KubernetesCluster | Incomplete]:
    """Return all clusters of the namespace by name, as far as nodes and descriptions tell."""
    found: dict[str, dict[str, Any]] = {}
    for item in kube.items("statefulsets,configmaps", OURS):
        labels = item["metadata"]["labels"]
        component = labels.get(_COMPONENT, "")
        described = DESCRIBED in item["metadata"].get("annotations", {})
        if _INSTANCE in labels and (component in ("master", "worker") or described):
            part = "description" if described else component
            found.setdefault(labels[_INSTANCE], {})[part] = item
    return {name: _cluster(name, parts) for name, parts in sorted(found.items())}


def _cluster(name: str, parts: Mapping[str, Any]) -> KubernetesCluster | Incomplete:
    if lacking := [part for part in ("description", "master", "worker") if part not in parts]:
        return Incomplete(name=name, why=f"it has no {' and no '.join(lacking)}")
    described = parts["description"]["metadata"]["annotations"][DESCRIBED]
    try:
        started = msgspec.json.decode(described, type=ClusterSpec)
    except msgspec.MsgspecError as error:
        config = pods_.name_of(parts["description"])
        return Incomplete(
            name=name,
            why=f"annotation {DESCRIBED} of ConfigMap {config} is not what `up` wrote: {error}",
        )
    return KubernetesCluster(
        name=name,
        spec=replace(started, workers=parts["worker"]["spec"]["replicas"]),  # scaled since, maybe
        ready={
            role: (parts[role]["status"].get("readyReplicas", 0), parts[role]["spec"]["replicas"])
            for role in ("master", "worker")
        },
    )


def names(kube: Kubectl) -> frozenset[str]:
    """Return the names of clusters of which anything at all is there, be it a Secret alone.

    Of each object, ``kubectl`` prints its labels only.
    """
    labels = (_INSTANCE, _COMPONENT, *_OURS_BY)
    columns = ",".join(f"C{n}:.metadata.labels.{_escaped(key)}" for n, key in enumerate(labels))
    told = kube.run(
        "get", KINDS, "--selector", OURS, "--no-headers", "--output", f"custom-columns={columns}"
    )
    rows = [line.split() for line in told.splitlines()]
    return frozenset(
        name
        for name, component, *more in rows
        if name != _NONE and (component in _COMPONENTS or any(word != _NONE for word in more))
    )


def _escaped(key: str) -> str:
    return key.replace(".", r"\.")


def known(kube: Kubectl) -> dict[str, KubernetesCluster | Incomplete]:
    """Return all clusters, also those of which nodes and descriptions are gone.

    Who may not look at everything is told of the others only.
    """
    found = standing(kube)
    with suppress(Unavailable):
        for name in names(kube) - found.keys():
            found[name] = Incomplete(
                name=name, why="it has no description, no master and no worker"
            )
    return dict(sorted(found.items()))


def find(kube: Kubectl, name: str) -> KubernetesCluster:
    """Return a cluster; ``UsageError`` when it is not there, or not whole."""
    there = standing(kube)
    must_be_known(kube, name, there)
    found = there[name]
    if isinstance(found, Incomplete):
        raise UsageError(
            f"cluster {name} in {kube.place} is incomplete",
            why=found.why,
            hint=f"`mlruntime cluster down --on kubernetes {name}` removes what is there",
        )
    return found


def must_be_known(kube: Kubectl, name: str, there: Collection[str]) -> None:
    """Raise ``UsageError``, with those that there are, for a cluster that is not."""
    if name in there:
        return
    kube.must_have_namespace()
    raise UsageError(
        f"there is no cluster {name!r} in {kube.place}",
        hint=did_you_mean(name, there)
        if there
        else "`mlruntime cluster up --on kubernetes` starts one",
    )


def nodes_of(kube: Kubectl, name: str) -> dict[str, Any]:
    """Return a cluster's pods by the name that people know; master first, jobs last."""
    found = {short(pod): pod for pod in kube.items("pods", label(name))}
    order = {"master": 0, "worker": 1}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0].split("-")[0], 2), item)))


def short(pod: Mapping[str, Any]) -> str:
    """Return a pod's name within its cluster: ``master-0``, ``worker-1``, ``job-7aea04``."""
    labels = pod["metadata"]["labels"]
    full = labels.get("io.mlruntime/job", pods_.name_of(pod))
    return str(full).removeprefix(f"{labels[_INSTANCE]}-")
