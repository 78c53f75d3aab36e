"""Clusters on Kubernetes, for the verbs of ``mlruntime cluster``."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from mlruntime.cluster.form import ClusterForm
from mlruntime.cluster.jobs import FinishedJob, Job, OnLine
from mlruntime.cluster.kubernetes import standalone, standing
from mlruntime.cluster.kubernetes.jobs import CONTAINER, beside, detach, submit
from mlruntime.cluster.kubernetes.kubectl import Kubectl
from mlruntime.cluster.kubernetes.nodes import ask_pods
from mlruntime.cluster.kubernetes.notebook import open_notebook, stop_notebook
from mlruntime.cluster.kubernetes.scaling import scale
from mlruntime.cluster.nodes import Answers
from mlruntime.cluster.notebook import NotebookOptions, OpenNotebook
from mlruntime.definitions.files import Definitions
from mlruntime.engine.values import Stream
from mlruntime.errors import UsageError
from mlruntime.workflows.cluster.describing import cluster_templates, wanted_elsewhere
from mlruntime.workflows.cluster.place import ClusterStatus, ClusterSummary, ReadyCluster


@dataclass(frozen=True, kw_only=True, slots=True)
class OnKubernetes:
    """A ``ClusterPlace``: a pod for each node, in one namespace."""

    kube: Kubectl
    definitions: Definitions
    say: Callable[[str], None]

    def up(
        self, form: ClusterForm, name: str, *, image: str | None, class_data: bool | None
    ) -> ReadyCluster:
        """Start a cluster of an image that its nodes can pull."""
        if class_data is not None:
            raise UsageError(
                "--class-data and --no-class-data are for clusters of containers",
                hint="leave it out with --on kubernetes",
            )
        wanted, notes = wanted_elsewhere(self.definitions, form, "kubernetes", name, image=image)
        for what in notes:
            self.say(f"{what} is not part of what starts a cluster on Kubernetes")
        seconds = standalone.up(self.kube, wanted, self._templates(), say=self.say)
        namespace = f" --namespace {self.kube.namespace}" if self.kube.namespace else ""
        page = f"kubectl{namespace} port-forward service/{name}-master 8080"
        return ReadyCluster(
            name=name,
            runtime=form.runtime,
            image=wanted.spec.image,
            workers=form.workers,
            master=f"spark://{name}-master:7077",
            pages={"ui": page},
            details={"namespace": self.kube.namespace},
            seconds=seconds,
        )

    def submit(self, name: str, job: Job, on_line: OnLine) -> FinishedJob:
        """Run a program; Kubernetes joins its two outputs in one."""
        cluster = self._find(name)
        ended = submit(self.kube, cluster, job, self._templates(), partial(on_line, "stdout"))
        if killed := ended.killed_for_memory(cluster.spec.limit, "pod"):
            self.say(killed)
        return ended

    def detach(self, name: str, job: Job) -> str:
        """Start a program."""
        return detach(self.kube, self._find(name), job, self._templates())

    def shell(self, name: str, argv: Sequence[str], terminal: tuple[int, int]) -> int:
        """Run a program in a pod of its own; ``kubectl`` has this process's terminal."""
        del terminal
        with beside(self.kube, self._find(name), self._templates()) as pod:
            return self.kube.interact(pod, CONTAINER, argv)

    def notebook(self, name: str, wanted: NotebookOptions) -> OpenNotebook:
        """Return the server in a pod, to which ``kubectl`` forwards a port."""
        return open_notebook(self.kube, self._find(name), wanted, self._templates())

    def stop_notebook(self, name: str) -> None:
        """Remove the pod, with its own files."""
        stop_notebook(self.kube, self._find(name))

    def scale(self, name: str, workers: int) -> tuple[str, ...]:
        """Change the number of pods."""
        numbers = scale(self.kube, self._find(name), workers, say=self.say)
        return tuple(f"worker-{number}" for number in numbers)

    def status(self, name: str) -> ClusterStatus:
        """Ask Kubernetes, and the master."""
        self._find(name)
        return ClusterStatus(status=standalone.status(self.kube, name), addresses=None)

    def logs(self, name: str, node: str, *, tail: int) -> tuple[str, tuple[str, ...]]:
        """Return a pod's last lines."""
        node = self._pod(name, node)
        return node, tuple(standalone.logs(self.kube, name, node, tail=tail, follow=False))

    def follow(self, name: str, node: str, *, tail: int) -> Iterator[tuple[Stream, str]]:
        """Yield a pod's last lines and those that follow, as standard output."""
        node = self._pod(name, node)
        for line in standalone.logs(self.kube, name, node, tail=tail, follow=True):
            yield "stdout", line

    def _pod(self, name: str, node: str) -> str:
        self._find(name)
        return "master-0" if node == "master" else node

    def doctor(self, name: str) -> Answers:
        """Run a program in each pod."""
        return ask_pods(self.kube, self._find(name))

    def down(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """Remove clusters, once all of them are found; also what is left of one."""
        known = standing.known(self.kube)
        chosen = tuple(known if names is None else names)
        for name in chosen:
            standing.must_be_known(self.kube, name, known)
        for name in chosen:
            standalone.remove(self.kube, standing.label(name))
        return chosen

    def clusters(self) -> tuple[ClusterSummary, ...]:
        """Return the clusters of the namespace; ``UsageError`` if there is no such namespace."""
        found = tuple(_summary(cluster) for cluster in standing.known(self.kube).values())
        if not found:
            self.kube.must_have_namespace()
        return found

    def _find(self, name: str) -> standing.KubernetesCluster:
        return standing.find(self.kube, name)

    def _templates(self) -> dict[str, str]:
        return cluster_templates(self.definitions)


def _summary(cluster: standing.KubernetesCluster | standing.Incomplete) -> ClusterSummary:
    if isinstance(cluster, standing.Incomplete):
        return ClusterSummary(name=cluster.name, state="incomplete", workers=0)
    ready = " and ".join(f"{have} of {want} {role}" for role, (have, want) in cluster.ready.items())
    state = "running" if cluster.complete else f"{ready} ready"
    return ClusterSummary(name=cluster.name, state=state, workers=cluster.spec.workers)
