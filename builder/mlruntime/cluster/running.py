"""A cluster that can be told to run something: what validation needs of one, wherever it runs."""

import queue
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from mlruntime.cluster.description import ClusterSpec
from mlruntime.engine.values import EngineInfo, ImageInfo
from mlruntime.errors import CommandFailed, MlruntimeError

# What comes out of a process: a line and its stream, at last its exit code or what ended it.
Item = tuple[str, str] | int | MlruntimeError


class ClusterFailed(CommandFailed):
    """A node of the cluster ended, or the cluster did not become ready in time."""


class Process(Protocol):
    """A process on the driver's node."""

    @property
    def items(self) -> "queue.Queue[Item]":
        """Its lines ``(stream, text)``, at the end its exit code or the error that ended it."""
        ...

    def kill(self) -> None:
        """Kill it and everything it started; nothing when its node is gone."""
        ...


class RunningCluster(Protocol):
    """A Spark cluster whose workers have registered."""

    @property
    def master_url(self) -> str:
        """What applications connect to."""
        ...

    @property
    def driver_host(self) -> str:
        """The host name of the node that applications run on."""
        ...

    @property
    def worker_hosts(self) -> tuple[str, ...]:
        """The workers' host names."""
        ...

    @property
    def shared(self) -> str:
        """A directory that all nodes see, and can write to."""
        ...

    @property
    def settings(self) -> Mapping[str, str]:
        """What an application must set to be given all that the workers have."""
        ...

    def images(self) -> Mapping[str, str]:
        """Return the id of the image that each node runs, by host name."""
        ...

    def put(self, directory: str, archive: bytes) -> None:
        """Unpack a tar archive into an existing directory of the driver's node."""
        ...

    def run(self, argv: Sequence[str], *, workdir: str | None = None) -> Process:
        """Start a process on the driver's node."""
        ...

    def casualty(self) -> tuple[str, str] | None:
        """Return what happened (a phrase, and a log) once a node has ended; ``None`` before."""
        ...


class Clusters(Protocol):
    """A place where clusters can be started: a backend."""

    def info(self) -> EngineInfo:
        """Return what the place is."""
        ...

    def image(self, reference: str) -> ImageInfo:
        """Return an image that clusters can be made of; ``Unavailable`` when it is not there."""
        ...

    def up(
        self,
        spec: ClusterSpec,
        *,
        say: Callable[[str], None],
        ready: float,
        clock: Callable[[], float],
    ) -> AbstractContextManager[RunningCluster]:
        """Bring up a cluster for a block; ``ClusterFailed`` when it is not there in time."""
        ...
