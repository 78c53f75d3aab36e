"""Which executors have a process waiting for the next run, and how a job's tasks get to them.

Spark deals the tasks of a job out to its executors in a random order. On a cluster with more
slots than ranks the next run would mostly start where nothing is loaded, seconds later than it
has to. So the driver remembers where ranks have been, and gives tasks these executors as their
preferred ones, as Spark does with cached partitions, if all of the ranks find room there. A
preference for executors that are busy would make Spark wait for them.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark import RDD, SparkContext
from pyspark.serializers import NoOpSerializer

# A process that is about to end by itself is not counted on.
_MARGIN_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """An executor that has had ``ranks`` ranks at once; its process waits ``until`` then."""

    host: str
    ranks: int
    until: float


_lock = threading.Lock()
_places: dict[tuple[str, str], Place] = {}


def executor_of(pid: int) -> str:
    """Return the id that Spark gave to the executor of this process id, empty for none."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        for word, value in itertools.pairwise(words):
            if word == "--executor-id":
                return value
    return ""


def remember(context: SparkContext, executors: Sequence[tuple[str, str]], seconds: float) -> None:
    """Note where ranks have been: the executor's id and host for each one."""
    until = time.monotonic() + seconds - _MARGIN_SECONDS
    with _lock:
        for executor, host in set(executors):
            if not executor:
                continue
            key = context.applicationId, executor
            held = executors.count((executor, host))
            before = _places.get(key)
            ranks = max(held, before.ranks) if before is not None else held
            _places[key] = Place(host=host, ranks=ranks, until=until)


def forget(context: SparkContext, executors: Sequence[str]) -> None:
    """Count on these executors no more."""
    with _lock:
        for executor in executors:
            _places.pop((context.applicationId, executor), None)


def preferred(context: SparkContext, np: int) -> list[str]:
    """Return the locations that ``np`` ranks find warm and idle, none if not all of them do."""
    now = time.monotonic()
    with _lock:
        for key in [key for key, place in _places.items() if place.until < now]:
            del _places[key]
        known = {
            executor: place
            for (application, executor), place in _places.items()
            if application == context.applicationId
        }
    if sum(place.ranks for place in known.values()) < np:
        return []
    with contextlib.suppress(Exception):  # a scheduler that cannot be asked only costs warmth
        running = context._jsc.sc().taskScheduler().runningTasksByExecutors()
        idle = {}
        for executor, place in known.items():
            tasks = running.get(executor)
            if tasks.isDefined() and tasks.get() == 0:
                idle[executor] = place
        if sum(place.ranks for place in idle.values()) >= np:
            return [f"executor_{place.host}_{executor}" for executor, place in idle.items()]
    return []


def rows_for(context: SparkContext, np: int, locations: Sequence[str]) -> "RDD[bytes]":
    """Return ``np`` partitions to run tasks on, at ``locations`` if there are any."""
    if locations:
        with contextlib.suppress(Exception):  # a Spark without this way only costs warmth
            return _at(context, np, locations)
    return context.parallelize([b""] * np, np)


def _at(context: SparkContext, np: int, locations: Sequence[str]) -> "RDD[bytes]":
    jvm = context._jvm
    assert jvm is not None
    wanted = jvm.PythonUtils.toSeq(list(locations))
    pairs = [jvm.scala.Tuple2(b"", wanted) for _ in range(np)]
    tag = jvm.scala.reflect.ClassTag.Any()
    rows = context._jsc.sc().makeRDD(jvm.PythonUtils.toSeq(pairs), tag)
    return RDD(jvm.org.apache.spark.api.java.JavaRDD.fromRDD(rows, tag), context, NoOpSerializer())
