"""Do the pods of a cluster agree with each other? They are asked what containers are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlruntime.cluster.kubernetes import pods
from mlruntime.cluster.kubernetes.kubectl import Kubectl, NotThere
from mlruntime.cluster.kubernetes.standing import KubernetesCluster, nodes_of
from mlruntime.cluster.nodes import Answers, NodeSilent, ask
from mlruntime.errors import CommandFailed

_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class _InPod:
    """A pod, ``None`` if Kubernetes has none; ``image_given`` is the image of its cluster."""

    kube: Kubectl
    pod: Mapping[str, Any] | None
    image_given: str

    def image(self) -> str:
        assert self.pod is not None  # it has told something
        return pods.runs(self.pod, self.image_given)

    def state(self) -> str:
        return pods.status_of(self.pod, "").state if self.pod is not None else "has no pod"

    def tell(self, argv: Sequence[str]) -> str:
        if self.pod is None:
            raise NodeSilent
        container = self.pod["spec"]["containers"][0]["name"]
        words = ("exec", pods.name_of(self.pod), f"--container={container}", "--", *argv)
        try:
            return self.kube.run(*words, seconds=_SECONDS)
        except (CommandFailed, NotThere) as error:
            raise NodeSilent from error


def ask_pods(kube: Kubectl, cluster: KubernetesCluster) -> Answers:
    """Ask master and workers of a cluster, also those that should be there and are not."""
    found = nodes_of(kube, cluster.name)
    names = ("master-0", *(f"worker-{number}" for number in range(cluster.spec.workers)))
    nodes = {name: _InPod(kube, found.get(name), cluster.spec.image) for name in names}
    return ask(nodes, f"{cluster.name}-master")
