"""The driver's hold on the cluster: one Spark session, and functions run on every worker."""

import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .harness import Expectation, Mismatch

_REGISTER_SECONDS = 45.0
# The checks are many short jobs. On a small host, C2 and parallel garbage collectors in four JVMs
# cost more time than they save.
_SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


class Cluster:
    """What every check is given. The session starts when the first check asks for it."""

    def __init__(self, expect: Expectation) -> None:
        self.expect = expect
        self._spark: Any = None
        self._refusal: str | None = None
        self._settings: dict[str, str] = {}

    @property
    def spark(self) -> Any:
        """The session; a failure to start it is remembered, so that only one check waits."""
        if self._refusal is not None:
            raise Mismatch(f"no Spark session: {self._refusal}")
        if self._spark is None:
            try:
                self._spark = self._start()
                self._await_workers()
            except BaseException as problem:
                self._refusal = f"{type(problem).__name__}: {problem}".splitlines()[0]
                raise
        return self._spark

    @property
    def context(self) -> Any:
        """The session's ``SparkContext``."""
        return self.spark.sparkContext

    @contextmanager
    def another(self, settings: Mapping[str, str]) -> Iterator[Any]:
        """Yield a session with other settings, instead of the one that there is.

        Some are read once, when a session starts. The next check starts a session of its own.
        """
        self.stop()
        refusal, self._settings = self._refusal, dict(settings)
        try:
            yield self.spark
        finally:
            # That these settings fail says nothing of a session without them.
            self._settings, self._refusal = {}, refusal
            self.stop()

    def _start(self) -> Any:
        from pyspark.sql import SparkSession

        _send_by_value()
        settings = {
            "spark.driver.host": self.expect.driver_host,
            "spark.driver.extraJavaOptions": _SHORT_LIVED,
            "spark.executor.extraJavaOptions": _SHORT_LIVED,
            "spark.sql.shuffle.partitions": "2",
            "spark.default.parallelism": "2",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            **self.expect.settings,
            **self._settings,
        }
        builder = SparkSession.builder.appName("mlruntime validate").master(self.expect.master)
        for key, value in settings.items():
            builder = builder.config(key, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        return session

    def _await_workers(self) -> None:
        deadline = time.monotonic() + _REGISTER_SECONDS * self.expect.time_factor
        while (found := self.slots()) < self.expect.workers:
            if time.monotonic() > deadline:
                raise Mismatch(f"{found} of {self.expect.workers} workers have registered")
            time.sleep(0.1)

    def slots(self) -> int:
        """Return how many tasks can run at once now."""
        scala = self._spark.sparkContext._jsc.sc()
        profile = scala.resourceProfileManager().defaultResourceProfile()
        return int(scala.maxNumConcurrentTasks(profile))

    def on_workers(self, function: Callable[[], Any]) -> dict[str, Any]:
        """Call ``function`` on every worker at the same time; return its value by host name.

        Raises ``Mismatch`` unless exactly the expected workers answered.
        """

        def task(_rows: Any) -> Any:
            return iter([(socket.gethostname(), function())])

        context, slots = self.context, self.slots()
        job = context.parallelize(range(slots), slots).barrier().mapPartitions(task)
        answers = dict(job.collect())
        if set(answers) != set(self.expect.worker_hosts):
            raise Mismatch(
                f"tasks ran on {sorted(answers)}, not on {sorted(self.expect.worker_hosts)}"
            )
        return answers

    def stop(self) -> None:
        """Stop the session if there is one."""
        if self._spark is not None:
            self._spark.stop()
            self._spark = None


def _send_by_value() -> None:
    """Have functions of these programs pickled whole: the workers do not have the files."""
    import cloudpickle
    from pyspark import cloudpickle as sparks

    package = sys.modules[__package__]
    for pickler in (cloudpickle, sparks):
        pickler.register_pickle_by_value(package)
