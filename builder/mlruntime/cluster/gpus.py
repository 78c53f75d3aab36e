"""How Spark's tasks get a cluster's GPUs, as data; no GPUs is the empty case. Core: no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mlruntime.errors import UsageError

# Every image has it: it prints the GPUs that NVML shows, and no addresses where there are none.
DISCOVERY: Final = "/opt/ml/bin/discover-gpus"
_WORKER: Final = "spark.worker.resource.gpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpus:
    """The GPUs of a cluster: each worker offers ``each``, which ``script`` finds in its container.

    ``devices`` are the UUIDs of the host's GPUs that the engine is to give to a worker, by the
    worker's role; the engine gives none to a worker without an entry.
    """

    each: int = 0
    script: str = DISCOVERY
    devices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, role: str) -> tuple[str, ...]:
        """Return the host's GPUs that the container of this role is to see."""
        return self.devices.get(role, ())

    def worker(self) -> dict[str, str]:
        """Return the environment in which a worker offers its GPUs to Spark."""
        if not self.each:
            return {}
        offered = {f"{_WORKER}.amount": str(self.each), f"{_WORKER}.discoveryScript": self.script}
        return {"SPARK_WORKER_OPTS": " ".join(f"-D{key}={offered[key]}" for key in offered)}

    def application(self) -> dict[str, str]:
        """Return the settings with which executors hold all GPUs of a worker, and tasks one."""
        if not self.each:
            return {}
        return {
            "spark.executor.resource.gpu.amount": str(self.each),
            "spark.task.resource.gpu.amount": "1",
        }

    def hint(self, words: str) -> str | None:
        """Return what to try when ``words``, a worker's last ones, say that it has too few GPUs."""
        if not self.each or "worker resources" not in words:
            return None
        return (
            f"run {self.script} in a worker's container: a worker that offers {self.each} GPUs "
            f'needs it to print {{"name": "gpu", "addresses": […]}} with as many'
        )


NO_GPUS: Final = Gpus()


def dealt(devices: Sequence[str], workers: int) -> Gpus:
    """Deal a host's GPUs out to so many workers, as many to each; ``NO_GPUS`` when it has none.

    Raises ``UsageError`` when there are some, but fewer than workers: two workers on one GPU
    would be two ranks on it.
    """
    if not devices:
        return NO_GPUS
    each = len(devices) // workers
    if not each:
        raise UsageError(
            f"{workers} workers, but this host has GPUs for {len(devices)}",
            why="each worker needs at least one of its own",
            hint=f"use --workers {len(devices)}, or the cpu variant",
        )
    return Gpus(
        each=each,
        devices={
            f"worker-{n + 1}": tuple(devices[n * each : (n + 1) * each]) for n in range(workers)
        },
    )
