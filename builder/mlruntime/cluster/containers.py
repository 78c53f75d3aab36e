"""A described cluster in containers on a private network: brought up, watched, torn down.

It is ready when all workers have registered, and it is always removed at the end. If a process was
killed, the next one that starts a cluster removes what is left.
"""

import queue
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from mlruntime.cluster.description import ClusterDescription, ClusterSpec, Node, describe
from mlruntime.cluster.running import ClusterFailed, Item
from mlruntime.cluster.signals import ended_as_by_ctrl_c, postponed, unimpressed
from mlruntime.engine import (
    Container,
    Engine,
    EngineInfo,
    Exec,
    ImageInfo,
    Mount,
    State,
    owner,
)
from mlruntime.errors import CommandFailed, MlruntimeError, Unavailable

READY_SECONDS: Final = 120.0
_WATCH_SECONDS: Final = 0.25
# Java's stack traces are long, and the cause may be far above their end.
_LOG_LINES: Final = 400
_TOLD_LINES: Final = 20
_FRAME: Final = re.compile(r"\s+(at |\.\.\. \d+ more)")
_T = TypeVar("_T")

# Runs in the driver's container: says how many workers the master sees, ends when it is all.
_AWAIT: Final = """
import json, sys, time, urllib.request
url, wanted, seen = sys.argv[1], int(sys.argv[2]), None
while seen != wanted:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            alive = json.load(answer)["aliveworkers"]
    except (OSError, ValueError, KeyError):
        alive = None
    if alive != seen:
        seen = alive
        print(seen, flush=True)
    time.sleep(0.1)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Casualty:
    """A container that ended although it should run."""

    role: str
    state: State
    log: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.role} {self.state}"


class ContainerProcess:
    """A process in the driver's container."""

    def __init__(self, process: Exec) -> None:
        self._process = process
        self._items = pumped(process)

    @property
    def items(self) -> "queue.Queue[Item]":
        """Its lines, and its end."""
        return self._items

    def kill(self) -> None:
        """Kill it with all its descendants; nothing when its container is gone."""
        with suppress(Unavailable):
            self._process.kill()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
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
        for name, container in self.nodes.items():
            state = container.state()
            if not state.running:
                log: tuple[str, ...] = ()
                with suppress(Unavailable):
                    log = container.logs(tail=_LOG_LINES)
                return Casualty(role=name, state=state, log=log)
        return None

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
) -> Iterator[Cluster]:
    """Bring up a cluster, yield it when all workers have registered, remove it at the end.

    Raises ``ClusterFailed``, with the container's last lines, when one ends before that or when
    it takes longer than ``ready`` seconds. SIGTERM and SIGHUP end the block as Ctrl-C does.
    """
    for left in engine.sweep():
        say(f"removed {left.kind} {left.name}, left by a run that was killed")
    described = describe(spec, secrets.token_hex(4))
    with ended_as_by_ctrl_c():
        try:
            say(f"starting {len(described.nodes)} containers from {spec.image}")
            running = _started(engine, described)
            _await_workers(running, say=say, ready=ready, clock=clock)
            yield running
        finally:
            # A second Ctrl-C must not stop the removal; every engine call has its own time limit.
            with unimpressed():
                try:
                    _tear_down(engine, described.ident)
                except Unavailable as error:
                    # The error of the block matters more; the next run removes what is left.
                    say(f"could not remove all of cluster {described.ident}: {error}")


def _started(engine: Engine, described: ClusterDescription) -> Cluster:
    """Start everything in threads: an interrupt then never cuts off a creation half-way."""
    ident, shared = described.ident, described.shared
    network = volume = f"mlr-{ident}"

    def start(node: Node) -> Container:
        return _start_node(engine, described, node)

    try:
        with _pool(len(described.nodes)) as pool:
            _submitted(pool, engine.create_network, network, run=ident).result()
            _submitted(pool, engine.create_volume, volume, run=ident).result()
            starting = {node.name: _submitted(pool, start, node) for node in described.nodes}
            nodes = {name: future.result() for name, future in starting.items()}
            user = engine.image_config(described.driver.image).user or "0"
            chown = ["chown", user, shared]
            owned = _submitted(pool, nodes["driver"].call, chown, user="0").result()
    except CommandFailed as error:
        raise ClusterFailed(error.what, why=error.why) from None
    if owned.exit_code:
        raise ClusterFailed(f"{shared} cannot be given to user {user}", why=owned.tail)
    return Cluster(description=described, nodes=nodes)


@contextmanager
def _pool(size: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool; at the end wait for running jobs, even after another Ctrl-C."""
    pool = ThreadPoolExecutor(max_workers=size)
    try:
        yield pool
    finally:
        with unimpressed():
            pool.shutdown(wait=True, cancel_futures=True)


def _submitted(
    pool: ThreadPoolExecutor, call: Callable[..., _T], *words: object, **options: object
) -> "Future[_T]":
    # A pool that is interrupted while it starts a thread would not know it, and not wait for it.
    with postponed():
        return pool.submit(call, *words, **options)


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


def _await_workers(
    running: Cluster,
    *,
    say: Callable[[str], None],
    ready: float,
    clock: Callable[[], float],
) -> None:
    wanted, gpus = running.description.ready, running.description.gpus
    deadline = clock() + ready
    process = running.run(["python3", "-c", _AWAIT, wanted.url, str(wanted.workers)])
    while True:
        try:
            item = process.items.get(timeout=_WATCH_SECONDS)
        except queue.Empty:
            item = None
        if (dead := running.dead()) is not None:
            words = _last_words(dead)
            what = f"{dead} before the cluster was ready"
            raise ClusterFailed(what, why=words, hint=gpus.hint(words))
        if isinstance(item, int):
            if item == 0:
                return
            raise ClusterFailed(f"waiting for the workers exited with {item}")
        if isinstance(item, MlruntimeError):
            raise item
        if item and item[0] == "stdout":
            count = item[1] if item[1] != "None" else "no"
            say(f"{count} of {wanted.workers} workers registered")
        if clock() > deadline:
            log = "\n       ".join(running.nodes["master"].logs()[-10:])
            raise ClusterFailed(f"the workers did not register within {ready:g} s", why=log)


def _last_words(dead: Casualty) -> str:
    lines = [line for line in dead.log if not _FRAME.match(line)]
    return "\n       ".join(lines[-_TOLD_LINES:]) or "it said nothing"


def pumped(process: Exec) -> "queue.Queue[Item]":
    """Run a process from a thread; its lines, then its exit code or what went wrong, come out."""
    items: queue.Queue[Item] = queue.Queue()

    def pump() -> None:
        try:
            for line in process:
                items.put(line)
            items.put(process.exit_code())
        except MlruntimeError as error:
            items.put(error)

    threading.Thread(target=pump, daemon=True, name="exec").start()
    return items


def _tear_down(engine: Engine, ident: str) -> None:
    """Kill and remove all of one cluster, containers in parallel."""
    things = engine.owned({owner.RUN: ident})
    containers = [thing for thing in things if thing.kind == "container"]
    if containers:
        with ThreadPoolExecutor(max_workers=len(containers)) as pool:
            list(pool.map(lambda thing: engine.remove([thing]), containers))
    engine.remove(thing for thing in things if thing.kind != "container")


@dataclass(frozen=True, slots=True)
class ContainerClusters:
    """Clusters of containers of one engine."""

    engine: Engine

    def info(self) -> EngineInfo:
        """Return what the engine is."""
        return self.engine.info()

    def image(self, reference: str) -> ImageInfo:
        """Return an image of the engine; ``Unavailable`` when it does not have it."""
        return self.engine.image_config(reference)

    def up(
        self,
        spec: ClusterSpec,
        *,
        say: Callable[[str], None],
        ready: float,
        clock: Callable[[], float],
    ) -> AbstractContextManager[Cluster]:
        """Bring up a cluster for a block."""
        return cluster(self.engine, spec, say=say, ready=ready, clock=clock)
