"""Spark's ``local-cluster`` in an environment of this host: worker processes, no containers."""

import io
import os
import shutil
import socket
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.readiness import ContainerProcess
from mlruntime.cluster.running import RunningCluster
from mlruntime.cluster.signals import ended_as_by_ctrl_c, unimpressed
from mlruntime.engine import EngineInfo, ImageInfo
from mlruntime.host.command import Child
from mlruntime.store.store import storage_errors

# A worker has one core, and the memory of an executor as Spark has it if nothing is said, in MiB.
_WORKER: Final = "1,1024"
# All that is said between these processes stays on this host, whatever its name resolves to.
_LOOPBACK: Final = "127.0.0.1"
# What programs write into a node's /tmp goes to a folder of this run's own.
_TMP: Final = "/tmp"


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalRunning:
    """A cluster in one directory: Spark starts its workers with each application."""

    folder: Path
    environ: Mapping[str, str]
    workers: int
    identity: str
    processes: list[Child] = field(default_factory=list)

    @property
    def master_url(self) -> str:
        """What applications connect to: it makes Spark start the workers itself."""
        return f"local-cluster[{self.workers},{_WORKER}]"

    @property
    def driver_host(self) -> str:
        """The driver's address."""
        return _LOOPBACK

    @property
    def worker_hosts(self) -> tuple[str, ...]:
        """This host, once for each worker."""
        return (socket.gethostname(),) * self.workers

    @property
    def shared(self) -> str:
        """A directory that all processes see."""
        return str(self.folder / "shared")

    @property
    def settings(self) -> Mapping[str, str]:
        """Nothing: an application gets all of it."""
        return {}

    def images(self) -> Mapping[str, str]:
        """Return what runs, for the driver and for the workers."""
        return {_LOOPBACK: self.identity, socket.gethostname(): self.identity}

    def put(self, directory: str, archive: bytes) -> None:
        """Unpack an archive; what is for ``/tmp`` goes into the folder of this run."""
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(self._here(directory), filter="data")

    def run(self, argv: Sequence[str], *, workdir: str | None = None) -> ContainerProcess:
        """Start a process in the environment; paths below ``/tmp`` are those of this run."""
        cwd = Path(self._here(workdir or _TMP))
        child = Child([self._here(word) for word in argv], env=self.environ, cwd=cwd)
        self.processes.append(child)
        return ContainerProcess(child)

    def casualty(self) -> tuple[str, str] | None:
        """Return ``None``: workers live and die with their application, which tells."""
        return None

    def _here(self, path: str) -> str:
        inside = path == _TMP or path.startswith(f"{_TMP}/mlruntime-")
        return f"{self.folder}{path.removeprefix(_TMP)}" if inside else path


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalClusters:
    """The place of an environment: ``environ`` are the variables of its processes.

    ``wanted`` is what should be there, in the form of an image; ``identity`` what is there.
    ``python`` is its interpreter's version.
    """

    environ: Mapping[str, str]
    wanted: ImageInfo
    identity: str
    python: str

    def info(self) -> EngineInfo:
        """Return what this host is."""
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        return EngineInfo(
            version=self.python,
            api="",
            kernel=os.uname().release,
            cpus=len(os.sched_getaffinity(0)),
            memory=pages * size,
            product="no container, Python",
        )

    def image(self, reference: str) -> ImageInfo:
        """Return what should be there."""
        return self.wanted

    def up(
        self,
        spec: ClusterSpec,
        *,
        say: Callable[[str], None],
        ready: float,
        clock: Callable[[], float],
    ) -> AbstractContextManager[RunningCluster]:
        """Make a place for a block; of ``spec``, only the number of workers counts."""
        return self._made(spec.workers)

    @contextmanager
    def _made(self, workers: int) -> Iterator[LocalRunning]:
        # Where Spark's own workers of local-cluster put their files, whatever is set.
        work = Path(self.environ["SPARK_HOME"], "work")
        was_there = work.exists()
        with storage_errors(Path(tempfile.gettempdir())), ended_as_by_ctrl_c():
            folder = Path(tempfile.mkdtemp(prefix="mlruntime-checks-"))
            running = LocalRunning(
                folder=folder,
                environ=self._variables(folder),
                workers=workers,
                identity=self.identity,
            )
            try:
                (folder / "shared").mkdir()
                yield running
            finally:
                with unimpressed():
                    for child in running.processes:
                        child.kill()
                    shutil.rmtree(folder, ignore_errors=True)
                    if not was_there:
                        shutil.rmtree(work, ignore_errors=True)

    def _variables(self, folder: Path) -> dict[str, str]:
        return {
            **self.environ,
            "TMPDIR": str(folder),
            "SPARK_LOCAL_DIRS": str(folder),
            "SPARK_LOCAL_IP": _LOOPBACK,
            "SPARK_LOCAL_HOSTNAME": "localhost",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
