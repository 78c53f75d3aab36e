"""Starting clusters of containers that outlive the process which starts them; and ending them."""

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from mlruntime.cluster.class_data import NAME as CLASS_DATA
from mlruntime.cluster.class_data import ClassData, application_settings
from mlruntime.cluster.description import SHARED, ClusterDescription, ClusterSpec, Node, describe
from mlruntime.cluster.description import worker as worker_node
from mlruntime.cluster.parallel import pool_of, submitted, tear_down
from mlruntime.cluster.readiness import await_workers
from mlruntime.cluster.running import ClusterFailed
from mlruntime.cluster.settings import cluster_settings, properties
from mlruntime.cluster.signals import ended_as_by_ctrl_c, unimpressed
from mlruntime.cluster.standing import (
    CLASS_DATA_KEY,
    CLUSTER,
    SPEC,
    Standing,
    network_of,
    published,
    standing,
)
from mlruntime.engine import Container, Engine, Mount, Service, owner
from mlruntime.engine.archives import packed, read_file
from mlruntime.errors import CommandFailed, InvalidDefinition, UsageError

_LOG: Final = logging.getLogger(__name__)

CONF: Final = "/etc/spark"
HOME: Final = "/home/ml"
READY_SECONDS: Final = 120.0
# Of /shared; in ``work`` everybody may write.
_FOLDERS: Final = ("events", "recovery", "work")
# What a master and a history server may use, in bytes.
_DAEMON_LIMIT: Final = 1 << 30
Files = Mapping[str, Callable[[], Iterator[bytes]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class StartedCluster:
    """A cluster that is ready; ``addresses`` by service, ``seconds`` by phase."""

    name: str
    description: ClusterDescription
    addresses: Mapping[str, str]
    seconds: Mapping[str, float]


def up(
    engine: Engine,
    spec: ClusterSpec,
    name: str,
    *,
    class_data: ClassData | None = None,
    say: Callable[[str], None] = lambda _: None,
    ready: float = READY_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> StartedCluster:
    """Start a cluster that stays; all of it is removed again when that fails or is interrupted.

    ``class_data`` is that of the image, for all JVMs of the cluster. Raises ``UsageError`` when
    there is a cluster of this name; what killed runs have left is removed by ``remove_left``.
    """
    must_be_free(engine, name)
    key = class_data.key if class_data else ""
    described, run = describe(spec, name, class_data=key), secrets.token_hex(4)
    phases = Phases(clock)
    with ended_as_by_ctrl_c():
        try:
            with _removed_on_failure(engine, run):
                say(f"starting {len(described.nodes)} containers from {spec.image}")
                nodes = _start(engine, described, spec, name, run, class_data, phases)
                await_workers(
                    described, nodes, via=nodes["master"], say=say, ready=ready, clock=clock
                )
                phases.done("ready")
                addresses = dict(published(described, nodes))
                labels = {
                    CLUSTER: name,
                    SPEC: msgspec.json.encode(replace(spec, settings={})).decode(),
                    CLASS_DATA_KEY: key,
                    owner.KEPT: "1",
                }
                engine.create_volume(
                    f"{network_of(name, run)}-mark", run=run, stays=True, labels=labels
                )
        except CommandFailed as error:
            raise ClusterFailed(error.what, why=error.why, hint=_hint(error)) from None
    return StartedCluster(
        name=name, description=described, addresses=addresses, seconds=phases.seconds
    )


class Phases:
    """How long each phase took, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._begun = clock, clock()
        self.seconds: dict[str, float] = {}

    def done(self, phase: str) -> None:
        """Note the end of a phase."""
        now = self._clock()
        self.seconds[phase] = round(now - self._begun, 2)
        _LOG.info("%s after %.2f s", phase, self.seconds[phase])
        self._begun = now


def _hint(error: CommandFailed) -> str | None:
    if port_is_taken(error):
        return "choose another port in `ports:`, or leave it out: any that is free is taken then"
    return error.hint


def port_is_taken(error: CommandFailed) -> bool:
    """Tell whether a container could not be started because something else has its port."""
    told = f"{error.why}"
    return "port is already allocated" in told or "address already in use" in told


def must_be_free(engine: Engine, name: str) -> None:
    """Raise ``UsageError`` when a cluster has this name."""
    if name not in standing(engine):
        return
    raise UsageError(
        f"there is a cluster {name} already",
        hint=f"`mlruntime cluster status {name}`, `… down {name}`, or another name: --name",
    )


@contextmanager
def _removed_on_failure(engine: Engine, run: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with unimpressed():
            tear_down(engine, {owner.RUN: run})
        raise


def _start(
    engine: Engine,
    described: ClusterDescription,
    spec: ClusterSpec,
    name: str,
    run: str,
    class_data: ClassData | None,
    phases: Phases,
) -> dict[str, Container]:
    """Start all nodes: the master first, for it fills the volumes that the others only read."""
    prefix, labels = network_of(name, run), {CLUSTER: name}
    user = image_user(engine, spec.image)
    settings = cluster_settings(spec, described.master_url)
    settings["spark.authenticate.secret"] = secrets.token_hex(32)
    (master,) = described.of_role("master")
    rest = [node for node in described.nodes if node is not master]
    with pool_of(len(described.nodes)) as pool:
        submitted(
            pool, engine.create_network, prefix, run=run, internal=False, stays=True, labels=labels
        ).result()
        volumes = [
            submitted(
                pool, engine.create_volume, f"{prefix}-{volume}", run=run, stays=True, labels=labels
            )
            for volume in ("conf", "shared")
        ]
        for volume in volumes:
            volume.result()
        files: Files = {
            CONF: partial(_conf, engine, master.host, settings, class_data, user),
            SHARED: partial(packed, {}, _FOLDERS, user=user),
        }
        start = partial(start_node, engine, name, run)
        nodes = {"master": submitted(pool, start, master, files=files).result()}
        phases.done("master")
        starting = {node.name: submitted(pool, start, node) for node in rest}
        nodes |= {key: future.result() for key, future in starting.items()}
    phases.done("containers")
    return nodes


def _conf(
    engine: Engine, host: str, settings: Mapping[str, str], data: ClassData | None, user: int
) -> Iterator[bytes]:
    """Return the image's own defaults and the cluster's settings, for its user's eyes only."""
    path = f"{CONF}/spark-defaults.conf"
    defaults = read_file(engine.container(host).get(path)).decode()
    added = application_settings(defaults, data.key) if data else {}
    text = f"{defaults.rstrip()}\n\n{properties({**added, **settings})}"
    files: dict[str, Path | bytes] = {"spark-defaults.conf": text.encode()}
    if data:
        files |= {f"{CLASS_DATA}/{name}": file for name, file in data.files.items()}
    return packed(files, user=user, mode=0o400)


def image_user(engine: Engine, image: str) -> int:
    """Return the number of the user that an image runs as."""
    user = engine.image_config(image).user.partition(":")[0]
    if not user.isdigit():
        raise InvalidDefinition(f"{image} runs as {user or 'root'!r}, not as a user by number")
    return int(user)


def start_node(
    engine: Engine,
    name: str,
    run: str,
    node: Node,
    *,
    files: Files | None = None,
) -> Container:
    """Start a node of the cluster ``name``, whose network and volumes are called after ``run``."""
    daemon = node.role in ("master", "history")
    return engine.start(
        node.image,
        node.command,
        name=node.host,
        run=run,
        role=node.name,
        hostname=node.host,
        network=network_of(name, run),
        mounts=(*mounts(name, run, conf_read_only=node.role != "master"), *node.mounts),
        environment=node.environment,
        memory=_DAEMON_LIMIT if daemon else node.memory,
        gpus=node.gpus,
        labels={CLUSTER: name},
        files=files,
        service=Service(
            restart=True,
            cpus=node.cores,
            ports={port.number: port.host for port in node.ports if port.host is not None},
        ),
    )


def mounts(name: str, run: str, *, conf_read_only: bool = True) -> tuple[Mount, ...]:
    """Return what every container of a cluster writes to, and the settings that it reads."""
    prefix = network_of(name, run)
    return (
        Mount(source=f"{prefix}-conf", target=CONF, kind="volume", read_only=conf_read_only),
        Mount(source=f"{prefix}-shared", target=SHARED, kind="volume"),
        Mount(source="", target="/tmp", kind="volume"),
        Mount(source="", target=HOME, kind="volume"),
    )


def down(engine: Engine, name: str) -> None:
    """Remove all of a cluster: its nodes, its jobs, its network, its volumes."""
    with unimpressed():
        tear_down(engine, {CLUSTER: name})


def scale(
    engine: Engine,
    cluster: Standing,
    workers: int,
    *,
    say: Callable[[str], None] = lambda _: None,
    ready: float = READY_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[int, ...]:
    """Bring the number of workers to ``workers``; return the numbers of those there are then.

    Those with the highest numbers go; Spark runs their tasks again elsewhere.
    """
    spec, have = cluster.spec, cluster.workers
    if workers > len(have) and spec.gpus.each:
        raise UsageError(
            f"cluster {cluster.name} cannot have more workers",
            why="each worker was given its GPUs when the cluster was started",
            hint=f"`mlruntime cluster down {cluster.name}`, and up again with --workers {workers}",
        )
    kept = have[:workers]
    new = [n for n in range(1, workers + len(have) + 1) if n not in have][: workers - len(kept)]
    master = engine.container(cluster.nodes["master"].id)
    with ended_as_by_ctrl_c():
        engine.remove(cluster.nodes[f"worker-{number}"] for number in have[workers:])
        made: dict[str, Container] = {}
        try:
            _add(engine, cluster, new, made)
            described = describe(
                replace(spec, workers=workers), cluster.name, class_data=cluster.class_data
            )
            await_workers(described, made, via=master, say=say, ready=ready, clock=clock)
        except BaseException:
            with unimpressed():
                for container in made.values():
                    container.remove()
            raise
    return tuple(sorted((*kept, *new)))


def _add(engine: Engine, cluster: Standing, numbers: list[int], made: dict[str, Container]) -> None:
    def add(node: Node) -> None:
        made[node.name] = start_node(engine, cluster.name, cluster.run, node)

    with pool_of(len(numbers) or 1) as pool:
        nodes = [
            worker_node(cluster.spec, cluster.name, number, class_data=cluster.class_data)
            for number in numbers
        ]
        for future in [submitted(pool, add, node) for node in nodes]:
            future.result()
