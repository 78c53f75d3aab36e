"""A cluster on Kubernetes for a block, with a driver's pod beside it: what validation runs on."""

import json
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.kubernetes import pods, standalone, standing
from mlruntime.cluster.kubernetes.jobs import CONTAINER, start_idle
from mlruntime.cluster.kubernetes.kubectl import Kubectl
from mlruntime.cluster.kubernetes.patience import STARTING_SECONDS, patiently
from mlruntime.cluster.memory import mebibytes
from mlruntime.cluster.readiness import ContainerProcess
from mlruntime.cluster.rendering import RenderRequest
from mlruntime.cluster.running import RunningCluster
from mlruntime.cluster.signals import ended_as_by_ctrl_c, unimpressed
from mlruntime.engine import EngineInfo, ImageInfo
from mlruntime.engine.processes import KILL, TOKEN
from mlruntime.engine.values import Stream
from mlruntime.errors import MlruntimeError, Unavailable, UsageError
from mlruntime.host.command import Child

# Of a pod, beside the memory that its worker offers: Spark's daemon, Python, and ranks, in MiB.
_BESIDE_MIB: Final = 2048
# Unpacks what comes as Base64: not every kubectl passes bytes on as they are.
_UNPACK: Final = """
import base64, io, sys, tarfile
content = base64.b64decode(sys.stdin.read())
with tarfile.open(fileobj=io.BytesIO(content)) as tar:
    tar.extractall(sys.argv[1])
"""
_UNITS: Final = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "": 1}


class PodExec:
    """A process in a pod. Iterating runs it and yields ``(stream, line)``."""

    def __init__(self, kube: Kubectl, pod: str, argv: Sequence[str], workdir: str) -> None:
        self._kube, self._pod, self._token = kube, pod, secrets.token_hex(8)
        variable = f"{TOKEN}={self._token}"
        command = ("env", variable, "sh", "-c", 'cd "$0" && exec "$@"', workdir, *argv)
        self._child = Child(
            kube.words("exec", pod, f"--container={CONTAINER}", "--", *command),
            env=kube.environment,
            cwd=Path(),
        )

    def __iter__(self) -> Iterator[tuple[Stream, str]]:
        yield from self._child

    def exit_code(self) -> int:
        """Return how it ended, which is how ``kubectl`` ends."""
        return self._child.exit_code()

    def kill(self) -> None:
        """Kill it and every process it started; nothing when its pod is gone."""
        with suppress(MlruntimeError):
            self._kube.run("exec", self._pod, f"--container={CONTAINER}", "--",
                           "/bin/sh", "-c", KILL, self._token)  # fmt: skip
        self._child.kill()


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningPods:
    """A cluster whose workers have registered, and the pod ``driver``, which waits.

    ``image`` is the name, with a digest, that its pods were asked to run.
    """

    kube: Kubectl
    name: str
    driver: str
    image: str
    driver_host: str
    worker_hosts: tuple[str, ...]
    shared: str = ""

    @property
    def master_url(self) -> str:
        """What applications connect to."""
        return f"spark://{self.name}-master:7077"

    @property
    def settings(self) -> Mapping[str, str]:
        """Nothing: an application gets all of it."""
        return {}

    def images(self) -> Mapping[str, str]:
        """Return the image of each node by host name: its name in full, or what else it runs."""
        found = {pods.name_of(pod): pod for pod in self._pods()}
        named = {self.driver_host: found[self.driver]}
        named |= {host: found[host] for host in self.worker_hosts}
        return {host: pods.runs(pod, self.image) for host, pod in named.items()}

    def put(self, directory: str, archive: bytes) -> None:
        """Unpack a tar archive into an existing directory of the driver's pod."""
        self.kube.run(
            "exec", self.driver, "--stdin", f"--container={CONTAINER}", "--",
            "python3", "-c", _UNPACK, directory, stdin=b64encode(archive).decode(),
        )  # fmt: skip

    def run(self, argv: Sequence[str], *, workdir: str | None = None) -> ContainerProcess:
        """Start a process in the driver's pod."""
        return ContainerProcess(PodExec(self.kube, self.driver, argv, workdir or "/tmp"))

    def casualty(self) -> tuple[str, str] | None:
        """Return the first pod that has ended or was started again; ``None`` if none has."""
        try:
            found = patiently(self._pods, STARTING_SECONDS)
        except Unavailable as error:
            return "Kubernetes does not answer any more", str(error)
        there = {pods.name_of(pod) for pod in found}
        for gone in sorted({self.driver, *self.worker_hosts} - there):
            return f"pod {gone} is gone", ""
        for pod in found:
            status = pods.status_of(pod, standing.short(pod))
            if status.restarts or not status.running:
                log = ""
                with suppress(MlruntimeError):
                    log = self.kube.run("logs", pods.name_of(pod), "--tail=20")
                what = "was started again" if status.running else status.state
                return f"{status.name} {what}", log
        return None

    def _pods(self) -> list[Any]:
        return self.kube.items("pods", standing.label(self.name))


@dataclass(frozen=True, kw_only=True, slots=True)
class KubernetesClusters:
    """The place of clusters in a namespace; ``there`` is the image that they run.

    ``spark`` is its version of Spark, ``templates`` are those of ``images/cluster``.
    """

    kube: Kubectl
    there: ImageInfo
    spark: str
    templates: Mapping[str, str]

    def info(self) -> EngineInfo:
        """Return what this Kubernetes is; of its nodes, what we may know."""
        told = json.loads(self.kube.run("version", "--output", "json"))
        nodes: list[Any] = []
        with suppress(Unavailable, UsageError):  # not everybody may look at nodes
            nodes = self.kube.get("nodes")["items"]
        kernels = sorted({node["status"]["nodeInfo"]["kernelVersion"] for node in nodes})
        capacities = [node["status"]["capacity"] for node in nodes]
        return EngineInfo(
            version=str(told["serverVersion"]["gitVersion"]),
            api="",
            kernel=", ".join(kernels) or "unknown",
            cpus=sum(int(capacity["cpu"]) for capacity in capacities),
            memory=sum(_bytes(capacity["memory"]) for capacity in capacities),
            product="Kubernetes",
        )

    def image(self, reference: str) -> ImageInfo:
        """Return the image that clusters are made of."""
        return self.there

    def up(
        self,
        spec: ClusterSpec,
        *,
        say: Callable[[str], None],
        ready: float,
        clock: Callable[[], float],
    ) -> AbstractContextManager[RunningCluster]:
        """Bring up a cluster and a driver for a block."""
        return self._up(spec, say, ready, clock)

    @contextmanager
    def _up(
        self,
        spec: ClusterSpec,
        say: Callable[[str], None],
        ready: float,
        clock: Callable[[], float],
    ) -> Iterator[RunningPods]:
        limit = (mebibytes(spec.memory) + _BESIDE_MIB) << 20
        wanted = RenderRequest(
            name=f"check-{secrets.token_hex(3)}",
            spec=replace(spec, limit=limit, driver=False),
            secret=secrets.token_hex(32),
            spark=self.spark,
        )
        with ended_as_by_ctrl_c():
            try:
                standalone.up(self.kube, wanted, self.templates, say=say, ready=ready, clock=clock)
                driver = start_idle(self.kube, wanted, self.templates)
                yield RunningPods(
                    kube=self.kube,
                    name=wanted.name,
                    driver=pods.name_of(driver),
                    image=spec.image,
                    driver_host=str(driver["status"]["podIP"]),
                    worker_hosts=tuple(f"{wanted.name}-worker-{n}" for n in range(spec.workers)),
                )
            finally:
                with unimpressed():
                    standalone.remove(self.kube, standing.label(wanted.name))


def _bytes(amount: str) -> int:
    """Return an amount of memory of a node, such as ``24683112Ki``, in bytes."""
    digits = amount.rstrip("KMGi")
    return int(digits) * _UNITS.get(amount.removeprefix(digits), 1)
