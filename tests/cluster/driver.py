"""A driver program in a cluster's container, fed with jobs by a test."""

import io
import itertools
import json
import queue
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlruntime.cluster.containers import ContainerCluster
from mlruntime.cluster.readiness import pumped
from mlruntime.cluster.running import Item
from mlruntime.engine import Container, Mount
from mlruntime.errors import MlruntimeError

CHECKOUT = Path(__file__).parents[2]
INSIDE, LIBRARY, JOBS = "/inside", "/library", "/shared/jobs"
MARK = "@@"
AUTHENTICATION = {
    "spark.authenticate": "true",
    "spark.authenticate.secret": "not a secret in a test",
    "spark.network.crypto.enabled": "true",
}
MOUNTS = (
    Mount(source=str(CHECKOUT / "images" / "sparkdl"), target=LIBRARY, kind="bind", read_only=True),
    Mount(source=str(Path(__file__).parent / "inside"), target=INSIDE, kind="bind", read_only=True),
)
ENVIRONMENT = {"PYTHONPATH": f"{LIBRARY}:{INSIDE}", "TF_CPP_MIN_LOG_LEVEL": "2"}


def daemon_options(settings: Mapping[str, str]) -> str:
    """Return what makes the master and the workers agree with ``settings``."""
    words = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    # Options are cut at blanks: the secret has some.
    words += [f"-D{name}={value.replace(' ', '_')}" for name, value in settings.items()]
    return " ".join(words)


@dataclass
class Driver:
    """One Spark application in the driver's container."""

    cluster: ContainerCluster
    items: "queue.Queue[Item]"
    pid: int = 0
    lines: list[str] = field(default_factory=list)
    ended: dict[int, dict[str, Any]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def run(
        self, call: str, ranks: int | None = None, *, options: Mapping[str, Any] | None = None,
        verbosity: str = "log_callback_only", thread: bool = True, **arguments: Any,
    ) -> int:  # fmt: skip
        """Start a job: ``module:call`` on so many ranks, without ``ranks`` on the driver itself."""
        number = next(self._numbers)
        call = call if ":" in call else f"trainings:{call}"
        job = {"id": number, "call": call, "arguments": arguments, "thread": thread}
        if ranks is not None:
            job |= {"np": ranks, "options": dict(options or {}), "verbosity": verbosity}
        self.cluster.driver.put(JOBS, archive(f"{number:04}.json", json.dumps(job).encode()))
        return number

    def outcome(self, job: int, seconds: float = 120) -> dict[str, Any]:
        """Wait for a job's end, and return what came of it."""
        deadline = time.monotonic() + seconds
        while job not in self.ended:
            self._read(deadline)
        return self.ended[job]

    def result(self, job: int, seconds: float = 120) -> Any:
        """Wait for a job that succeeds, and return its result."""
        outcome = self.outcome(job, seconds)
        assert "result" in outcome, outcome["text"]
        return outcome["result"]

    def _read(self, deadline: float) -> None:
        try:
            item = self.items.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise AssertionError("\n".join(["no answer in time", *self.lines[-60:]])) from None
        if isinstance(item, MlruntimeError):
            raise item
        assert not isinstance(item, int), "\n".join([f"the driver ended: {item}", *self.lines])
        line = item[1]
        if line.startswith(MARK):
            event = json.loads(line.removeprefix(MARK))
            if "job" in event:
                self.ended[event["job"]] = event
            else:
                self.pid = event["pid"]
        elif line:
            self.lines.append(line)

    def await_start(self, seconds: float = 120) -> None:
        """Wait until the application takes jobs."""
        deadline = time.monotonic() + seconds
        while not self.pid:
            self._read(deadline)

    def note(self, name: str, rank: int) -> dict[str, Any] | None:
        """Return what a rank has last written about itself into a shared folder."""
        found = self.cluster.driver.call(["cat", f"/shared/{name}/{rank}"])
        # What a very short process wrote can be lost on its way: ask again then.
        return json.loads(found.tail) if found.exit_code == 0 and found.tail else None

    def await_epoch(self, name: str, epoch: int, rank: int = 1, seconds: float = 90) -> Any:
        """Wait until a rank is in the middle of an epoch; return its note."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            note = self.note(name, rank)
            if note is not None and (note["epoch"], note["batch"]) >= (epoch, 1):
                return note
            time.sleep(0.05)
        raise AssertionError("\n".join([f"{name} has not got so far", *self.lines[-60:]]))

    def await_note(self, name: str, rank: int, seconds: float = 90) -> Any:
        """Wait until a rank has written anything about itself."""
        deadline = time.monotonic() + seconds
        while (note := self.note(name, rank)) is None:
            assert time.monotonic() < deadline, "\n".join(["no note", *self.lines[-60:]])
            time.sleep(0.05)
        return note

    def node(self, host: str) -> Container:
        """Return the container with this host name."""
        return next(one for one in self.cluster.nodes.values() if one.name == host)

    def look(self, large: int = 1 << 50) -> dict[str, dict[str, list[Any]]]:
        """Return which processes of a run live on which worker."""
        return {
            host: json.loads(self.node(host).call(look_command(large)).tail)
            for host in self.cluster.worker_hosts
        }

    def ranks(self) -> int:
        """Return how many ranks live on all workers."""
        return sum(len(found["ranks"]) for found in self.look().values())

    def await_no_ranks(self, seconds: float = 30) -> None:
        """Wait until no rank's process lives any more."""
        deadline = time.monotonic() + seconds
        while left := self.ranks():
            assert time.monotonic() < deadline, f"{left} ranks still live"
            time.sleep(0.1)


def look_command(large: int) -> Sequence[str]:
    """Return the command that says what lives in a container."""
    return ["python3", f"{INSIDE}/look.py", str(large)]


def archive(name: str, data: bytes) -> bytes:
    """Return a tar archive with one file, whole as soon as it is there."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o644
        tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@contextmanager
def driver(cluster: ContainerCluster, settings: Mapping[str, str]) -> Iterator[Driver]:
    """Start a driver program; end it, however it is, at the end of the block."""
    cluster.driver.call(["mkdir", "-p", JOBS])
    program = ["python3", "-u", f"{INSIDE}/served.py", JOBS]
    everything = {"spark.master": cluster.master_url, "spark.ui.enabled": "false", **settings}
    process = cluster.driver.exec([*program, json.dumps(everything)], workdir="/home/ml")
    running = Driver(cluster=cluster, items=pumped(process))
    try:
        running.await_start()
        yield running
    finally:
        process.kill()
