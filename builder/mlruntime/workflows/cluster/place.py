"""A place that clusters run in, as the verbs of ``mlruntime cluster`` need one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mlruntime.cluster.form import ClusterForm
from mlruntime.cluster.jobs import FinishedJob, Job, OnLine
from mlruntime.cluster.nodes import Answers
from mlruntime.cluster.notebook import NotebookOptions, OpenNotebook
from mlruntime.cluster.status import Status
from mlruntime.engine.values import Stream


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadyCluster:
    """A cluster that is ready.

    ``pages`` say by service how to reach it; ``details`` are what only this place has to tell;
    ``seconds`` are by phase.
    """

    name: str
    runtime: str | None
    image: str
    workers: int
    master: str
    pages: Mapping[str, str]
    details: Mapping[str, Any]
    seconds: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterStatus:
    """How a cluster is; ``addresses`` by service, ``None`` where a place gives it none."""

    status: Status
    addresses: Mapping[str, str] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterSummary:
    """A cluster in a list; ``jobs``: how many it has, where that is known."""

    name: str
    state: str
    workers: int
    jobs: int | None = None


class ClusterPlace(Protocol):
    """Starts, finds and ends clusters; all but ``up`` raise ``UsageError`` for an unknown name."""

    def up(
        self, form: ClusterForm, name: str, *, image: str | None, class_data: bool | None
    ) -> ReadyCluster:
        """Start a cluster, and wait until it is ready.

        ``image`` goes before the one that the form names: containers are started from it, and
        pods pull it. ``class_data``: prepare the image first, or do without; ``None``: take what
        is prepared.
        """
        ...

    def submit(self, name: str, job: Job, on_line: OnLine) -> FinishedJob:
        """Run a program to its end, passing on what it writes."""
        ...

    def detach(self, name: str, job: Job) -> str:
        """Start a program, and return the job's name."""
        ...

    def shell(self, name: str, argv: Sequence[str], terminal: tuple[int, int]) -> int:
        """Run a program on a terminal (its input and output); return its exit code."""
        ...

    def notebook(self, name: str, wanted: NotebookOptions) -> OpenNotebook:
        """Return a cluster's notebook server once it answers, started if there is none."""
        ...

    def stop_notebook(self, name: str) -> None:
        """Remove a cluster's notebook server, with its own files."""
        ...

    def scale(self, name: str, workers: int) -> tuple[str, ...]:
        """Change the number of workers; return the names of those that there are then."""
        ...

    def status(self, name: str) -> ClusterStatus:
        """Return how its nodes are, and what its master says."""
        ...

    def logs(self, name: str, node: str, *, tail: int) -> tuple[str, tuple[str, ...]]:
        """Return a node's or job's own name, and the last lines that it has written."""
        ...

    def follow(self, name: str, node: str, *, tail: int) -> Iterator[tuple[Stream, str]]:
        """Yield what a node or job writes until it ends."""
        ...

    def doctor(self, name: str) -> Answers:
        """Ask every node about itself."""
        ...

    def down(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """Remove clusters, or all there are; return their names."""
        ...

    def clusters(self) -> tuple[ClusterSummary, ...]:
        """Return the clusters that there are."""
        ...
