"""Clusters that are there already: a driver joins, and goes again; nothing else is changed."""

import json
import queue
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from mlruntime.cluster.containers import OnEngine
from mlruntime.cluster.description import SHARED, ClusterSpec, describe
from mlruntime.cluster.jobs import start_beside
from mlruntime.cluster.readiness import ContainerProcess
from mlruntime.cluster.running import ClusterFailed, Process, RunningCluster
from mlruntime.cluster.settings import properties, safe_settings
from mlruntime.cluster.signals import ended_as_by_ctrl_c, unimpressed
from mlruntime.cluster.standing import Standing
from mlruntime.cluster.starting import CONF, HOME, image_user
from mlruntime.engine import Container, Engine, Mount, Service
from mlruntime.engine.archives import packed, read_file
from mlruntime.errors import MlruntimeError

# Runs in the driver: the address that it has in the eyes of the master, then the workers' names.
_LOOK: Final = """
import json, socket, sys
from pyspark import BarrierTaskContext
from pyspark.sql import SparkSession

host, _, port = sys.argv[1].removeprefix("spark://").rpartition(":")
with socket.create_connection((host, int(port)), timeout=20) as there:
    address = there.getsockname()[0]
session = SparkSession.builder.master(sys.argv[1]).config("spark.driver.host", address)
context = session.config("spark.ui.enabled", "false").getOrCreate().sparkContext
scala = context._jsc.sc()
profile = scala.resourceProfileManager().defaultResourceProfile()
import time
seen, deadline = 0, time.monotonic() + 30
while time.monotonic() < deadline:
    found = int(scala.maxNumConcurrentTasks(profile))
    if found and found == seen:
        break
    seen = found
    time.sleep(2)
if not seen:
    sys.exit("no worker of this cluster has given us a core within 30 s")
rows = context.parallelize(range(seen), seen).barrier()
hosts = sorted(set(rows.mapPartitions(lambda _: [socket.gethostname()]).collect()))
context.stop()
print("@@" + json.dumps({"address": address, "hosts": hosts}), flush=True)
"""
_LOOK_SECONDS: Final = 120.0
_IDLE: Final = ("sleep", "infinity")


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """A cluster that a driver of ours has joined; ``nodes`` are those that can be watched."""

    driver: Container
    master_url: str
    driver_host: str
    worker_hosts: tuple[str, ...]
    shared: str
    settings: Mapping[str, str]
    image_ids: Mapping[str, str]
    nodes: Mapping[str, Container]
    restarts: Mapping[str, int]

    def images(self) -> Mapping[str, str]:
        """Return the id of the image that each node runs, by host name, as far as it is known."""
        return self.image_ids

    def put(self, directory: str, archive: bytes) -> None:
        """Unpack a tar archive into an existing directory of the driver's node."""
        self.driver.put(directory, archive)

    def run(self, argv: Sequence[str], *, workdir: str | None = None) -> Process:
        """Start a process on the driver's node."""
        return ContainerProcess(self.driver.exec(argv, workdir=workdir))

    def casualty(self) -> tuple[str, str] | None:
        """Return the first node that has ended since, also when it was started again."""
        for name, container in (*self.nodes.items(), ("driver", self.driver)):
            state = container.state()
            if not state.running or state.restarts > self.restarts.get(name, 0):
                return f"{name} {state}", "\n".join(container.logs()[-20:])
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class StandingClusters(OnEngine):
    """The place of one cluster of this engine, which ``up`` joins instead of starting one."""

    cluster: Standing

    def up(
        self,
        spec: ClusterSpec,
        *,
        say: Callable[[str], None],
        ready: float,
        clock: Callable[[], float],
    ) -> AbstractContextManager[RunningCluster]:
        """Join the cluster for a block; what of ``spec`` is about its nodes does not count."""
        return self._joined(say)

    @contextmanager
    def _joined(self, say: Callable[[str], None]) -> Iterator[Joined]:
        cluster, engine = self.cluster, self.engine
        ident = f"job-{secrets.token_hex(3)}"
        described = describe(cluster.spec, cluster.name)
        nodes = {name: engine.container(thing.id) for name, thing in cluster.nodes.items()}
        say(f"joining cluster {cluster.name}")
        shared = f"{SHARED}/work/{ident}"
        with _container(engine, partial(start_beside, engine, cluster, ident, _IDLE)) as driver:
            _must(driver, ["mkdir", shared])
            try:
                yield Joined(
                    driver=driver,
                    master_url=described.master_url,
                    driver_host=driver.name,
                    worker_hosts=tuple(f"mlr-{cluster.name}-worker-{n}" for n in cluster.workers),
                    shared=shared,
                    settings=described.settings,
                    image_ids={
                        driver.name: driver.image_id(),
                        **{thing.name: nodes[n].image_id() for n, thing in cluster.nodes.items()},
                    },
                    nodes=nodes,
                    restarts={name: node.state().restarts for name, node in nodes.items()},
                )
            finally:
                with unimpressed():
                    driver.call(["rm", "-rf", shared])


@dataclass(frozen=True, kw_only=True, slots=True)
class SparkClusters(OnEngine):
    """The place of any standalone cluster, by its master's URL; the driver runs on the engine.

    ``network`` is that of the driver's container: the workers must be able to connect to it.
    ``secret`` is the cluster's, if it authenticates.
    """

    url: str
    network: str = "host"
    secret: str | None = None

    def up(
        self,
        spec: ClusterSpec,
        *,
        say: Callable[[str], None],
        ready: float,
        clock: Callable[[], float],
    ) -> AbstractContextManager[RunningCluster]:
        """Join the cluster for a block; of ``spec``, only the image counts."""
        return self._joined(spec.image, say)

    @contextmanager
    def _joined(self, image: str, say: Callable[[str], None]) -> Iterator[Joined]:
        say(f"joining {self.url}")
        with _container(self.engine, partial(self._start, image)) as driver:
            found = _look(driver, self.url)
            say(f"workers: {', '.join(found['hosts'])}")
            yield Joined(
                driver=driver,
                master_url=self.url,
                driver_host=str(found["address"]),
                worker_hosts=tuple(found["hosts"]),
                shared="",
                settings={},
                image_ids={},
                nodes={},
                restarts={},
            )

    def _start(self, image: str) -> Container:
        name = f"mlr-driver-{secrets.token_hex(4)}"
        user = image_user(self.engine, image)
        settings = dict(safe_settings()) if self.secret else {}
        if self.secret:
            settings["spark.authenticate.secret"] = self.secret

        def conf() -> Iterator[bytes]:
            path = f"{CONF}/spark-defaults.conf"
            defaults = read_file(self.engine.container(name).get(path)).decode()
            text = f"{defaults.rstrip()}\n\n{properties(settings)}"
            return packed({"spark-defaults.conf": text.encode()}, user=user, mode=0o400)

        own = (CONF, "/tmp", HOME)
        return self.engine.start(
            image,
            _IDLE,
            name=name,
            run=name,
            role="driver",
            network=self.network,
            mounts=tuple(Mount(source="", target=path, kind="volume") for path in own),
            files={CONF: conf},
            service=Service(),
        )


@contextmanager
def _container(engine: Engine, start: Callable[[], Container]) -> Iterator[Container]:
    for _ in engine.sweep():
        pass
    with ended_as_by_ctrl_c():
        container = start()
        try:
            yield container
        finally:
            with unimpressed():
                container.remove()


def _must(driver: Container, argv: Sequence[str]) -> None:
    done = driver.call(argv)
    if done.exit_code:
        raise ClusterFailed(f"{' '.join(argv)} failed", why=done.tail)


def _look(driver: Container, url: str) -> dict[str, Any]:
    """Return the driver's address as the cluster sees it, and the workers' host names."""
    process = ContainerProcess(driver.exec(["python", "-c", _LOOK, url], workdir=HOME))
    said: list[str] = []
    deadline = time.monotonic() + _LOOK_SECONDS
    while True:
        try:
            item = process.items.get(timeout=max(0.1, deadline - time.monotonic()))
        except queue.Empty:
            process.kill()
            raise _unreachable(url, said) from None
        if isinstance(item, MlruntimeError):
            raise item
        if isinstance(item, int):
            raise _unreachable(url, said)
        if item[1].startswith("@@"):
            found: dict[str, Any] = json.loads(item[1].removeprefix("@@"))
            return found
        said.append(item[1])


def _unreachable(url: str, said: Sequence[str]) -> ClusterFailed:
    lines = [line for line in said if line.strip() and not line.startswith(("\t", " "))]
    return ClusterFailed(
        f"no job ran on {url}",
        why="\n       ".join(lines[-6:]) or "it did not answer",
        hint="is it the master's URL, as its web page has it? A cluster that authenticates needs "
        "--secret FILE; workers must be able to connect to the driver (--network)",
    )
