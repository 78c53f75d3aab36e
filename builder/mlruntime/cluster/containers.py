"""A Spark cluster of containers: one master, workers, one driver, on a private network.

Brought up by waiting for readiness, torn down whatever happens. What a killed process left
behind is removed by the next one that brings up a cluster.
"""

import queue
import re
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Final, TypeVar

from mlruntime.cluster.gpus import NO_GPUS, Gpus
from mlruntime.engine import Container, Engine, Exec, Mount, State, owner
from mlruntime.errors import CommandFailed, MlruntimeError, Unavailable

READY_SECONDS: Final = 120.0
SHARED: Final = "/shared"
_WATCH_SECONDS: Final = 0.25
# Java's traces are long, and the cause may stand far above their end.
_LOG_LINES: Final = 400
_FRAME: Final = re.compile(r"\s+(at |\.\.\. \d+ more)")
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
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


class ClusterFailed(CommandFailed):
    """A container of the cluster ended, or the cluster did not become ready in time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterSpec:
    """What to bring up.

    ``node_images`` gives single nodes (``worker-1``) another image; ``memory`` is what a
    worker offers to executors, as Spark spells it; ``limit`` a container's memory in bytes;
    ``gpus`` what its workers have of GPUs.
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

    @property
    def roles(self) -> tuple[str, ...]:
        """Return the names of all nodes within the cluster."""
        return ("master", *(f"worker-{n + 1}" for n in range(self.workers)), "driver")


@dataclass(frozen=True, kw_only=True, slots=True)
class Casualty:
    """A container that ended although it should run."""

    role: str
    state: State
    log: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.role} {self.state}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A running cluster; ``nodes`` by role. A node's host name is its container's name."""

    ident: str
    spec: ClusterSpec
    nodes: Mapping[str, Container]

    @property
    def master_url(self) -> str:
        """Return what programs connect to."""
        return f"spark://{self.nodes['master'].name}:7077"

    @property
    def settings(self) -> Mapping[str, str]:
        """Return what an application must set to be given all that the workers have."""
        return self.spec.gpus.application()

    @property
    def driver(self) -> Container:
        """Return the container in which programs are to run."""
        return self.nodes["driver"]

    @property
    def worker_hosts(self) -> tuple[str, ...]:
        """Return the workers' host names."""
        return tuple(self.nodes[r].name for r in self.spec.roles if r.startswith("worker-"))

    def casualty(self) -> Casualty | None:
        """Return the first container that has ended, with its last words; ``None`` if all run."""
        for role, container in self.nodes.items():
            state = container.state()
            if not state.running:
                log: tuple[str, ...] = ()
                with suppress(Unavailable):
                    log = container.logs(tail=_LOG_LINES)
                return Casualty(role=role, state=state, log=log)
        return None


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
    ident = secrets.token_hex(4)
    with _signals(signal.SIGTERM, signal.SIGHUP, handler=_interrupt):
        try:
            say(f"starting {len(spec.roles)} containers from {spec.image}")
            running = _started(engine, spec, ident)
            _await_workers(running, say=say, ready=ready, clock=clock)
            yield running
        finally:
            # A second Ctrl-C must not stop the removal; each engine call has its own time limit.
            with _signals(*_ENDING, handler=signal.SIG_IGN):
                try:
                    _tear_down(engine, ident)
                except Unavailable as error:
                    # What the block found matters more; the next run removes what is left.
                    say(f"could not remove all of cluster {ident}: {error}")


def _started(engine: Engine, spec: ClusterSpec, ident: str) -> Cluster:
    """Start everything in threads: an interrupt then never cuts off a creation half-way."""
    network = volume = f"mlr-{ident}"

    def start(role: str) -> Container:
        return _start_node(engine, spec, ident, role)

    try:
        with _pool(len(spec.roles)) as pool:
            _submitted(pool, engine.create_network, network, run=ident).result()
            _submitted(pool, engine.create_volume, volume, run=ident).result()
            starting = {role: _submitted(pool, start, role) for role in spec.roles}
            nodes = {role: future.result() for role, future in starting.items()}
            user = engine.image_config(spec.image).user or "0"
            chown = ["chown", user, SHARED]
            owned = _submitted(pool, nodes["driver"].call, chown, user="0").result()
    except CommandFailed as error:
        raise ClusterFailed(error.what, why=error.why) from None
    if owned.exit_code:
        raise ClusterFailed(f"{SHARED} cannot be given to user {user}", why=owned.tail)
    return Cluster(ident=ident, spec=spec, nodes=nodes)


@contextmanager
def _pool(size: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool; at the end wait for what is under way, however impatient the user is."""
    pool = ThreadPoolExecutor(max_workers=size)
    try:
        yield pool
    finally:
        with _signals(*_ENDING, handler=signal.SIG_IGN):
            pool.shutdown(wait=True, cancel_futures=True)


def _submitted(
    pool: ThreadPoolExecutor, call: Callable[..., _T], *words: object, **options: object
) -> "Future[_T]":
    # Interrupted while it starts a thread, a pool would not know that thread, nor wait for it.
    with _uninterrupted():
        return pool.submit(call, *words, **options)


def _start_node(engine: Engine, spec: ClusterSpec, ident: str, role: str) -> Container:
    name = f"mlr-{ident}-{role}"
    return engine.start(
        spec.node_images.get(role, spec.image),
        _command(spec, ident, role),
        name=name,
        run=ident,
        role=role,
        hostname=name,
        network=f"mlr-{ident}",
        mounts=(Mount(source=f"mlr-{ident}", target=SHARED, kind="volume"), *spec.mounts),
        environment={
            "SPARK_LOCAL_HOSTNAME": name,
            "SPARK_DAEMON_MEMORY": "512m",
            "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            **spec.gpus.worker(),
            **spec.environment,
        },
        memory=spec.limit,
        gpus=spec.gpus.of(role),
    )


def _command(spec: ClusterSpec, ident: str, role: str) -> list[str]:
    host, master = f"mlr-{ident}-{role}", f"mlr-{ident}-master"
    if role == "driver":
        return ["sleep", "infinity"]
    daemon = ["spark-class", "org.apache.spark.deploy.master.Master", "--host", host]
    if role == "master":
        return [*daemon, "--port", "7077", "--webui-port", "8080"]
    daemon[1] = "org.apache.spark.deploy.worker.Worker"
    offer = ["--cores", str(spec.cores), "--memory", spec.memory]
    return [*daemon, *offer, "--work-dir", "/tmp/spark-work", f"spark://{master}:7077"]


def _await_workers(
    running: Cluster, *, say: Callable[[str], None], ready: float, clock: Callable[[], float]
) -> None:
    master, wanted = running.nodes["master"].name, running.spec.workers
    deadline = clock() + ready
    poll = ["python3", "-c", _AWAIT, f"http://{master}:8080/json/", str(wanted)]
    process = running.driver.exec(poll)
    lines = pumped(process)
    while True:
        try:
            item = lines.get(timeout=_WATCH_SECONDS)
        except queue.Empty:
            item = None
        if (dead := running.casualty()) is not None:
            words = _last_words(dead)
            what = f"{dead} before the cluster was ready"
            raise ClusterFailed(what, why=words, hint=running.spec.gpus.hint(words))
        if isinstance(item, int):
            if item == 0:
                return
            raise ClusterFailed(f"waiting for the workers exited with {item}")
        if isinstance(item, MlruntimeError):
            raise item
        if item and item[0] == "stdout":
            say(f"{item[1] if item[1] != 'None' else 'no'} of {wanted} workers registered")
        if clock() > deadline:
            log = "\n       ".join(running.nodes["master"].logs()[-10:])
            raise ClusterFailed(f"the workers did not register within {ready:g} s", why=log)


def _last_words(dead: Casualty) -> str:
    lines = [line for line in dead.log if not _FRAME.match(line)]
    return "\n       ".join(lines[-20:]) or "it said nothing"


Pumped = tuple[str, str] | int | MlruntimeError


def pumped(process: Exec) -> "queue.Queue[Pumped]":
    """Run a process from a thread; its lines, then its exit code or what went wrong, come out."""
    items: queue.Queue[Pumped] = queue.Queue()

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


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let signals that would end the block have their effect only after it."""
    late: list[int] = []
    with _signals(*_ENDING, handler=lambda number, frame: late.append(number)):
        yield
    if late:
        raise KeyboardInterrupt


@contextmanager
def _signals(
    *numbers: signal.Signals,
    handler: Callable[[int, FrameType | None], None] | signal.Handlers,
) -> Iterator[None]:
    """Handle signals in this way for a while; only the main thread may, others leave them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, handler)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
    }
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
