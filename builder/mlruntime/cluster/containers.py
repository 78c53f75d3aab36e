"""A described cluster in containers on a private network: brought up, watched, torn down.

It is ready when all workers have registered, and it is always removed at the end. If a process was
killed, the next one that starts a cluster removes what is left.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

from mlruntime.cluster.description import ClusterDescription, ClusterSpec, Node, describe
from mlruntime.cluster.leftovers import remove_left
from mlruntime.cluster.parallel import pool_of, submitted, tear_down
from mlruntime.cluster.readiness import Casualty, ContainerProcess, await_workers, first_dead
from mlruntime.cluster.running import ClusterFailed
from mlruntime.cluster.signals import ended_as_by_ctrl_c, unimpressed
from mlruntime.engine import Container, Engine, EngineInfo, ImageInfo, Mount, owner
from mlruntime.errors import CommandFailed, Unavailable

READY_SECONDS: Final = 120.0
# Java's stack traces are long, and the cause may be far above their end.
_TOLD_LINES: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerCluster:
    """A running cluster; ``nodes`` are the containers by the nodes' names."""

    description: ClusterDescription
    nodes: Mapping[str, Container]

    @property
    def ident(self) -> str:
        """Return what its containers' names have in common."""
        return self.description.ident

    @property
    def master_url(self) -> str:
        """Return what applications connect to."""
        return self.description.master_url

    @property
    def settings(self) -> Mapping[str, str]:
        """Return what an application must set to be given all that the workers have."""
        return self.description.settings

    @property
    def shared(self) -> str:
        """Return the directory that all nodes see."""
        return self.description.shared

    @property
    def driver(self) -> Container:
        """Return the container in which programs are to run."""
        return self.nodes[self.description.driver.name]

    @property
    def driver_host(self) -> str:
        """Return the driver's host name."""
        return self.description.driver.host

    @property
    def worker_hosts(self) -> tuple[str, ...]:
        """Return the workers' host names."""
        return tuple(node.host for node in self.description.of_role("worker"))

    def images(self) -> Mapping[str, str]:
        """Return the id of the image that each node runs, by host name."""
        return {node.host: self.nodes[node.name].image_id() for node in self.description.nodes}

    def put(self, directory: str, archive: bytes) -> None:
        """Unpack a tar archive into an existing directory of the driver's node."""
        self.driver.put(directory, archive)

    def run(self, argv: Sequence[str], *, workdir: str | None = None) -> ContainerProcess:
        """Start a process on the driver's node."""
        return ContainerProcess(self.driver.exec(argv, workdir=workdir))

    def dead(self) -> Casualty | None:
        """Return the first container that has ended, with its last words; ``None`` if all run."""
        return first_dead(self.nodes)

    def casualty(self) -> tuple[str, str] | None:
        """Return what happened to the first node that has ended, and its last lines."""
        found = self.dead()
        return (str(found), "\n".join(found.log[-_TOLD_LINES:])) if found else None


@contextmanager
def cluster(
    engine: Engine,
    spec: ClusterSpec,
    *,
    say: Callable[[str], None] = lambda _: None,
    ready: float = READY_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ContainerCluster]:
    """Bring up a cluster, yield it when all workers have registered, remove it at the end.

    Raises ``ClusterFailed``, with the container's last lines, when one ends before that or when
    it takes longer than ``ready`` seconds. SIGTERM and SIGHUP end the block as Ctrl-C does.
    """
    remove_left(engine, say)
    described = describe(spec, secrets.token_hex(4))
    with ended_as_by_ctrl_c():
        try:
            say(f"starting {len(described.nodes)} containers from {spec.image}")
            running = _started(engine, described)
            await_workers(
                running.description,
                running.nodes,
                via=running.driver,
                say=say,
                ready=ready,
                clock=clock,
            )
            yield running
        finally:
            # A second Ctrl-C must not stop the removal; every engine call has its own time limit.
            with unimpressed():
                try:
                    tear_down(engine, {owner.RUN: described.ident})
                except Unavailable as error:
                    # The error of the block matters more; the next run removes what is left.
                    say(f"could not remove all of cluster {described.ident}: {error}")


def _started(engine: Engine, described: ClusterDescription) -> ContainerCluster:
    """Start everything in threads: an interrupt then never cuts off a creation half-way."""
    ident, shared = described.ident, described.shared
    network = volume = f"mlr-{ident}"

    def start(node: Node) -> Container:
        return _start_node(engine, described, node)

    try:
        with pool_of(len(described.nodes)) as pool:
            submitted(pool, engine.create_network, network, run=ident).result()
            submitted(pool, engine.create_volume, volume, run=ident).result()
            starting = {node.name: submitted(pool, start, node) for node in described.nodes}
            nodes = {name: future.result() for name, future in starting.items()}
            user = engine.image_config(described.driver.image).user or "0"
            chown = ["chown", user, shared]
            owned = submitted(pool, nodes["driver"].call, chown, user="0").result()
    except CommandFailed as error:
        raise ClusterFailed(error.what, why=error.why) from None
    if owned.exit_code:
        raise ClusterFailed(f"{shared} cannot be given to user {user}", why=owned.tail)
    return ContainerCluster(description=described, nodes=nodes)


def _start_node(engine: Engine, described: ClusterDescription, node: Node) -> Container:
    name = f"mlr-{described.ident}"
    return engine.start(
        node.image,
        node.command,
        name=node.host,
        run=described.ident,
        role=node.name,
        hostname=node.host,
        network=name,
        mounts=(Mount(source=name, target=described.shared, kind="volume"), *node.mounts),
        environment=node.environment,
        memory=node.memory,
        gpus=node.gpus,
    )


@dataclass(frozen=True, slots=True)
class OnEngine:
    """What all places of clusters have in common whose driver is a container of an engine."""

    engine: Engine

    def info(self) -> EngineInfo:
        """Return what the engine is."""
        return self.engine.info()

    def image(self, reference: str) -> ImageInfo:
        """Return an image of the engine; ``Unavailable`` when it does not have it."""
        return self.engine.image_config(reference)


class ContainerClusters(OnEngine):
    """Clusters of containers of one engine."""

    __slots__ = ()

    def up(
        self,
        spec: ClusterSpec,
        *,
        say: Callable[[str], None],
        ready: float,
        clock: Callable[[], float],
    ) -> AbstractContextManager[ContainerCluster]:
        """Bring up a cluster for a block."""
        return cluster(self.engine, spec, say=say, ready=ready, clock=clock)
