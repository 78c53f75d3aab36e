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
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark import RDD, SparkContext

# A process that is about to end by itself is not counted on.
_MARGIN_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """An executor that has had ``ranks`` ranks at once; its process waits ``until`` then."""

    host: str
    ranks: int
    until: float


class Places:
    """What is known of executors, by application and id. Threads may share it; no clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Place] = {}

    def note(self, application: str, ranks: Sequence[tuple[str, str]], until: float) -> None:
        """Note the executor and the host of each of a run's ranks; empty ids are no place."""
        with self._lock:
            for (executor, host), count in Counter(ranks).items():
                if not executor:
                    continue
                before = self._known.get((application, executor))
                most = count if before is None else max(count, before.ranks)
                self._known[application, executor] = Place(host=host, ranks=most, until=until)

    def forget(self, application: str, executors: Sequence[str]) -> None:
        """Count on these executors no more."""
        with self._lock:
            for executor in executors:
                self._known.pop((application, executor), None)

    def warm(self, application: str, now: float) -> dict[str, Place]:
        """Return the application's executors on which something still waits."""
        with self._lock:
            self._known = {key: place for key, place in self._known.items() if place.until > now}
            return {
                id_: place for (owner, id_), place in self._known.items() if owner == application
            }


def fitting(places: Mapping[str, Place], np: int) -> list[str]:
    """Return all of the places, as Spark spells locations, if ``np`` ranks fit into them."""
    if sum(place.ranks for place in places.values()) < np:
        return []
    return [f"executor_{place.host}_{executor}" for executor, place in places.items()]


_places = Places()


def executor_of(pid: int) -> str:
    """Return the id that Spark gave to the executor of this process id, empty for none."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        for word, value in itertools.pairwise(words):
            if word == "--executor-id":
                return value
    return ""


def remember(context: "SparkContext", ranks: Sequence[tuple[str, str]], seconds: float) -> None:
    """Note where a run's ranks have been, by executor and host, and for how long that is good."""
    until = time.monotonic() + seconds - _MARGIN_SECONDS
    _places.note(str(context.applicationId), ranks, until)


def forget(context: "SparkContext", executors: Sequence[str]) -> None:
    """Count on these executors no more."""
    _places.forget(str(context.applicationId), executors)


def preferred(context: "SparkContext", np: int) -> list[str]:
    """Return the locations that ``np`` ranks find warm and idle, none if not all of them do."""
    places = _places.warm(str(context.applicationId), time.monotonic())
    if not fitting(places, np):
        return []
    with contextlib.suppress(Exception):  # a scheduler that cannot be asked only costs warmth
        running = context._jsc.sc().taskScheduler().runningTasksByExecutors()
        tasks = {executor: running.get(executor) for executor in places}
        idle = {one for one, found in tasks.items() if found.isDefined() and found.get() == 0}
        return fitting({one: place for one, place in places.items() if one in idle}, np)
    return []


def rows_for(context: "SparkContext", np: int, locations: Sequence[str]) -> "RDD[bytes]":
    """Return ``np`` partitions to run tasks on, at ``locations`` if there are any."""
    if locations:
        with contextlib.suppress(Exception):  # a Spark without this way only costs warmth
            return _at(context, np, locations)
    return context.parallelize([b""] * np, np)


def _at(context: "SparkContext", np: int, locations: Sequence[str]) -> "RDD[bytes]":
    from pyspark import RDD
    from pyspark.serializers import NoOpSerializer

    jvm = context._jvm
    assert jvm is not None
    wanted = jvm.PythonUtils.toSeq(list(locations))
    pairs = [jvm.scala.Tuple2(b"", wanted) for _ in range(np)]
    tag = jvm.scala.reflect.ClassTag.Any()
    rows = context._jsc.sc().makeRDD(jvm.PythonUtils.toSeq(pairs), tag)
    return RDD(jvm.org.apache.spark.api.java.JavaRDD.fromRDD(rows, tag), context, NoOpSerializer())
