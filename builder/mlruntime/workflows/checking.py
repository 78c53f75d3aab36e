"""What ``validate`` is told to check when it is an environment of this host."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlruntime.cluster.local import LocalClusters
from mlruntime.definitions.files import Definitions
from mlruntime.engine import ImageInfo
from mlruntime.environment.description import read_description, read_files, read_lock_of
from mlruntime.environment.verification import differences
from mlruntime.errors import InvalidLock, UsageError
from mlruntime.lock.model import Lock
from mlruntime.validation.expectation import labels
from mlruntime.validation.session import Subject
from mlruntime.workflows.locked import fresh_lock, libraries
from mlruntime.workflows.planning import planned_image

# Seen with Horovod 0.28.1: its ranks end with SIGABRT when Spark's workers share a host. Those that
# HorovodRunner starts there, and those of `horovod.allreduce` and its kin, do not.
_CANNOT: Final = {
    "ml.tools": "an environment has no git and no curl of its own: they are this host's",
    "horovod.spark_run": "the ranks of Horovod's own launcher ended with SIGABRT here, and we do "
    "not know why; a cluster of containers tests it",
}


def is_path(on: str) -> bool:
    """Return whether ``--on`` names a directory: it has a slash, and is no URL."""
    return "/" in on and "://" not in on and not on.startswith("spark:")


def added_to(lock: Lock, own: Lock) -> Lock:
    """Return the lock of an environment, ``own``, if it is of the flavour that ``lock`` has now.

    Packages that somebody added are its own; without any it is that flavour's.
    """
    base = lock.cut(own.of_runtime.flavour)
    return own if own.of_runtime.digest == base.digest else base


def environment_subject(
    definitions: Definitions,
    runtime: str | None,
    root: Path,
    workers: int,
    environ: Mapping[str, str],
) -> tuple[LocalClusters, Subject]:
    """Return an environment as a place for checks, and what must be in it.

    Every file is read. Raises ``UsageError`` if it is one of another runtime, and ``InvalidLock``
    if the runtime's lock or plan is another one by now.
    """
    found = read_description(root)
    if runtime not in (None, found.runtime):
        raise UsageError(
            f"this is an environment of {found.runtime}, not of {runtime}", where=str(root)
        )
    own = read_lock_of(root)
    lock = added_to(fresh_lock(definitions, found.runtime), own)
    plan = planned_image(definitions, lock, found.variant).digest
    if (found.lock, found.plan) != (lock.digest, plan):
        raise InvalidLock(
            "the environment is not what the definitions describe now",
            where=str(root),
            why="the lock, images/ or mlruntime itself has changed since it was made",
            hint=f"make it anew: `mlruntime env create {found.runtime} PATH`",
        )
    wanted = f"environment of {plan}"
    damaged = differences(root, read_files(root)).damaged
    identity = wanted
    if damaged:
        identity += f" with {len(damaged)} files that are not as locked, such as {damaged[0]}"
    settings = found.settings(root)
    place = LocalClusters(
        environ=settings.applied(environ),
        wanted=ImageInfo(
            id=wanted,
            tags=(),
            labels=labels(own, found.variant, found.plan),
            size=0,
            user="",
            environment=(),
            diff_ids=(),
        ),
        identity=identity,
        python=found.python,
    )
    return place, Subject(
        image=wanted,
        lock=lock,
        variant=found.variant,
        workers=workers,
        plan=plan,
        libraries=libraries(definitions),
        why_no_more_gpus="checks on GPUs run in containers so far",
        cannot=_CANNOT,
        place=f"this host, in {root}",
        directory=str(root),
    )
