"""What a Spark cluster is: its nodes and when it is ready, as data. Core: no I/O, no engine.

One master, workers, and what else is asked for: a driver that applications run on, the history
server, the server of Spark Connect, JupyterLab. Starting it somewhere is the business of a backend;
``containers`` is one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Literal

from mlruntime.cluster.class_data import daemon_environment
from mlruntime.cluster.gpus import NO_GPUS, Gpus
from mlruntime.engine.values import Mount

SHARED: Final = "/shared"
_MASTER_PORT: Final = 7077
_STATUS_PORT: Final = 8080
_HISTORY_PORT: Final = 18080
_CONNECT_PORT: Final = 15002
NOTEBOOK_PORT: Final = 8888
# The server of Spark Connect is an application that never ends: it gives executors back when nobody
# uses them, or no other application would ever get one.
_LENT: Final = tuple(
    word
    for setting in (
        "spark.dynamicAllocation.enabled=true",
        "spark.dynamicAllocation.shuffleTracking.enabled=true",
        "spark.dynamicAllocation.minExecutors=0",
        "spark.dynamicAllocation.initialExecutors=0",
        "spark.dynamicAllocation.executorIdleTimeout=20s",
        "spark.dynamicAllocation.shuffleTracking.timeout=20s",
    )
    for word in ("--conf", setting)
)
# What starts in little time and memory; daemons have little to do afterwards.
_DAEMON_OPTIONS: Final = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
EVENTS: Final = f"{SHARED}/events"
RECOVERY: Final = f"{SHARED}/recovery"
Role = Literal["master", "worker", "history", "connect", "notebook", "driver"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterSpec:
    """What to bring up.

    ``node_images`` gives single nodes (``worker-1``) another image; ``memory`` is what a
    worker offers to executors, as Spark spells it; ``limit`` a container's memory in bytes;
    ``gpus`` what its workers have of GPUs. ``driver`` says whether there is a node that programs
    run on. ``settings`` are Spark's of all nodes and applications; ``ports`` are published on the
    host, by service (``ui``, ``history``, ``connect``, ``notebook``), 0 for any.
    """

    image: str
    workers: int = 2
    cores: int = 1
    memory: str = "2g"
    limit: int | None = None
    node_images: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    gpus: Gpus = NO_GPUS
    driver: bool = True
    history: bool = False
    connect: bool = False
    notebook: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """A port of a node: what answers there, and the host's port (0: any), if it is published."""

    service: str
    number: int
    host: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One node: ``name`` within the cluster (``worker-1``), ``host`` on its network.

    ``memory`` is a limit in bytes, ``cores`` one in processors; ``gpus`` are the UUIDs of GPUs that
    only this node sees.
    """

    name: str
    role: Role
    host: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    memory: int | None = None
    gpus: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    cores: int | None = None
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """A cluster is ready when the JSON at ``url`` says that so many workers are alive."""

    url: str
    workers: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterDescription:
    """All of a cluster before it is started. All nodes see the directory ``shared``.

    ``settings`` is what an application must set to be given all that the workers have.
    """

    ident: str
    nodes: tuple[Node, ...]
    master_url: str
    ready: Readiness
    settings: Mapping[str, str]
    gpus: Gpus = NO_GPUS
    shared: str = SHARED

    def of_role(self, role: Role) -> tuple[Node, ...]:
        """Return the nodes of a role, in order."""
        return tuple(node for node in self.nodes if node.role == role)

    @property
    def driver(self) -> Node:
        """Return the node that applications run on."""
        return self.of_role("driver")[0]


def describe(spec: ClusterSpec, ident: str, *, class_data: str = "") -> ClusterDescription:
    """Return a cluster whose hosts are called ``mlr-IDENT-master`` and so on.

    ``class_data`` is the key of the archive that all nodes have and their JVMs are told to use.
    """
    node = partial(_node, spec, ident, class_data)
    master = _host(ident, "master")
    url = f"spark://{master}:{_MASTER_PORT}"
    start = ("spark-class", "org.apache.spark.deploy.master.Master", "--host", master)
    ports = ("--port", str(_MASTER_PORT), "--webui-port", str(_STATUS_PORT))
    nodes = [node("master", "master", (*start, *ports))]
    nodes += [worker(spec, ident, n + 1, class_data=class_data) for n in range(spec.workers)]
    if spec.history:
        nodes.append(node("history", "history", ("history", EVENTS)))
    if spec.connect:
        nodes.append(node("connect", "connect", ("connect", *_LENT)))
    if spec.notebook:
        nodes.append(notebook_node(spec, ident, class_data=class_data))
    if spec.driver:
        nodes.append(node("driver", "driver", ("sleep", "infinity")))
    return ClusterDescription(
        ident=ident,
        nodes=tuple(nodes),
        master_url=url,
        ready=Readiness(url=f"http://{master}:{_STATUS_PORT}/json/", workers=spec.workers),
        settings=spec.gpus.application(),
        gpus=spec.gpus,
    )


def worker(spec: ClusterSpec, ident: str, number: int, *, class_data: str = "") -> Node:
    """Return the worker with this number, counted from 1."""
    name = f"worker-{number}"
    start = (
        "worker",
        "--host",
        _host(ident, name),
    )  # of the image's entry point: awaits the master
    offer = ("--cores", str(spec.cores), "--memory", spec.memory)
    master = f"spark://{_host(ident, 'master')}:{_MASTER_PORT}"
    command = (*start, *offer, "--work-dir", "/tmp/spark-work", master)
    return _node(spec, ident, class_data, name, "worker", command)


def notebook_node(
    spec: ClusterSpec,
    ident: str,
    *,
    class_data: str = "",
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Node:
    """Return the node of JupyterLab, which is told ``options``.

    ``port`` is the host's, where it is not that of ``spec``. The node has the memory of a worker,
    for the drivers that its notebooks are, and no limit of cores.
    """
    host = spec.ports.get("notebook", 0) if port is None else port
    spec = replace(
        spec,
        ports={**spec.ports, "notebook": host},
        environment={**spec.environment, **(environment or {})},
    )
    return _node(spec, ident, class_data, "notebook", "notebook", ("notebook", *options))


def _node(
    spec: ClusterSpec,
    ident: str,
    class_data: str,
    name: str,
    role: Role,
    command: tuple[str, ...],
) -> Node:
    host = _host(ident, name)
    return Node(
        name=name,
        role=role,
        host=host,
        image=spec.node_images.get(name, spec.image),
        command=command,
        environment={
            "SPARK_LOCAL_HOSTNAME": host,
            "SPARK_DAEMON_MEMORY": "512m",
            "SPARK_DAEMON_JAVA_OPTS": _DAEMON_OPTIONS,
            **(daemon_environment(_DAEMON_OPTIONS, class_data) if class_data else {}),
            **spec.gpus.worker(),
            **spec.environment,
        },
        memory=spec.limit,
        gpus=spec.gpus.of(name),
        mounts=spec.mounts,
        cores=spec.cores if role == "worker" else None,
        ports=_ports(role, spec.ports),
    )


def _ports(role: Role, published: Mapping[str, int]) -> tuple[Port, ...]:
    return tuple(
        Port(service=service, number=number, host=published.get(service))
        for service, number in _SERVICES.get(role, ())
    )


_SERVICES: Final[Mapping[Role, tuple[tuple[str, int], ...]]] = {
    "master": (("spark", _MASTER_PORT), ("ui", _STATUS_PORT)),
    "history": (("history", _HISTORY_PORT),),
    "connect": (("connect", _CONNECT_PORT),),
    "notebook": (("notebook", NOTEBOOK_PORT),),
}


def _host(ident: str, name: str) -> str:
    return f"mlr-{ident}-{name}"
