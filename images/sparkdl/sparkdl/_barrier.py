"""Ranks as the tasks of one Spark barrier stage."""

import contextlib
import dataclasses
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from py4j.protocol import Py4JJavaError
from pyspark import BarrierTaskContext, InheritableThread, SparkContext
from pyspark.broadcast import Broadcast

from sparkdl import _attend, _payload, _warmth
from sparkdl._attend import Seat, Terms
from sparkdl._control import Invitation, Member
from sparkdl._errors import HorovodRunnerError, NotEnoughSlots, RunCancelled, spark_reason
from sparkdl._logs import RunLogs
from sparkdl._options import RunOptions
from sparkdl._slots import slots

_LOOK_SECONDS = 0.1
# Between Python and Spark a length has 31 bits.
_LARGEST_RESULT = 1 << 30


@dataclass(frozen=True, kw_only=True)
class RankTask:
    """The function of each barrier task."""

    invitation: Invitation
    terms: Terms
    inline: bytes | None
    broadcast: "Broadcast[bytes] | None"

    def __call__(self, _rows: Iterable[bytes]) -> Iterator[bytes]:
        payload = self.inline if self.broadcast is None else self.broadcast.value
        result = _attend.attend(self.invitation, seat(), self.terms, payload or b"")
        return iter([] if result is None else [result])


def seat() -> Seat:
    """Return what Spark gave to the task that this process runs."""
    context = BarrierTaskContext.get()
    number = context.partitionId()
    gpu = context.resources().get("gpu")
    daemon = os.getppid()
    jvm = _parent(daemon)
    return Seat(
        partition=number,
        host=context.getTaskInfos()[number].address.rsplit(":", 1)[0],
        cores=context.cpus(),
        gpus=() if gpu is None else tuple(gpu.addresses),
        owners=tuple(pid for pid in (daemon, jvm) if pid > 1),
        executor=_warmth.executor_of(jvm),
        stage=context.stageId(),
    )


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        return int(file.read().rpartition(b")")[2].split()[1])
    return 0


class SparkTasks:
    """The ranks' tasks as a barrier job, which runs in a thread so that it can be watched."""

    def __init__(self, context: SparkContext, payload: bytes, terms: Terms) -> None:
        conf = context.getConf()
        self._context, self._payload = context, payload
        self._terms = dataclasses.replace(terms, result_limit=_result_limit(context))
        self.host = conf.get("spark.driver.host") or "localhost"
        bind = conf.get("spark.driver.bindAddress")
        self.addresses: Sequence[str] = [self.host] if bind is None else [bind, self.host]
        self._broadcast: Broadcast[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._tag = ""
        self._rows: list[bytes] = []
        self._error: BaseException | None = None

    def start(self, invitation: Invitation, np: int) -> None:
        """Submit the barrier job."""
        inline = self._payload if len(self._payload) <= _payload.INLINE else None
        if inline is None and self._broadcast is None:
            self._broadcast = self._context.broadcast(self._payload)
        task = RankTask(
            invitation=invitation, terms=self._terms, inline=inline, broadcast=self._broadcast
        )
        self._rows, self._error = [], None
        self._tag = f"sparkdl-{secrets.token_hex(8)}"
        self._thread = InheritableThread(target=self._collect, args=(task, np))
        self._thread.daemon = True
        self._thread.start()

    def _collect(self, task: RankTask, np: int) -> None:
        try:
            self._context.addJobTag(self._tag)
            self._context.setLocalProperty("spark.job.description", f"HorovodRunner, {np} ranks")
            rows = _warmth.rows_for(self._context, np, _warmth.preferred(self._context, np))
            self._rows = rows.barrier().mapPartitions(task).collect()
        except BaseException as error:
            self._error = error

    def result(self) -> bytes | None:
        """Return rank 0's result once the job has ended; raise what ended it otherwise."""
        if self._thread is None or self._thread.is_alive():
            return None
        if self._error is not None:
            raise told(self._error) from None
        return bytes(self._rows[0]) if self._rows else None

    def finish(self, seconds: float) -> None:
        """Wait for the job; cancel it when tasks do not end by themselves."""
        thread = self._thread
        if thread is None:
            return
        # Tasks that are there end at once; for those that never started nobody waits.
        thread.join(min(seconds, 1.0))
        if thread.is_alive():
            with contextlib.suppress(Exception):
                self._context.cancelJobsWithTag(self._tag)
            thread.join(seconds)

    def close(self) -> None:
        """Remove what was broadcast, from the executors' disks too."""
        if self._broadcast is not None:
            with contextlib.suppress(Exception):
                self._broadcast.destroy()

    def launched(self) -> bool:
        """Return whether Spark has given any of this job's tasks to an executor."""
        with contextlib.suppress(Exception):
            tracker = self._context._jsc.sc().statusTracker()
            for job in tracker.getJobIdsForTag(self._tag):
                for stage in tracker.getJobInfo(job).get().stageIds():
                    info = tracker.getStageInfo(stage)
                    if info.isDefined() and info.get().numActiveTasks() > 0:
                        return True
        return False

    def why_waiting(self, np: int) -> str:
        """Say why Spark may not have started the tasks yet."""
        with contextlib.suppress(Exception):
            if (found := slots(self._context)) < np:
                return f"executors were lost since, {found} slots are left"
            tracker = self._context._jsc.sc().statusTracker()
            others = {*tracker.getActiveJobIds()} - {*tracker.getJobIdsForTag(self._tag)}
            if others:
                jobs = "another job" if len(others) == 1 else f"{len(others)} other jobs"
                return f"{jobs} of this application may hold them"
        return "Spark has not started the tasks yet"

    def remember(self, members: Sequence[Member]) -> None:
        """Have the next run start where these have left the frameworks loaded."""
        places = [(str(one.about["executor"]), one.host) for one in members]
        _warmth.remember(self._context, places, self._terms.keep_warm)

    def shun(self, members: Sequence[Member]) -> None:
        """Have the executors replaced on which ranks went silent: Spark trusts them for longer."""
        _warmth.forget(self._context, [str(one.about["executor"]) for one in members])
        scala = self._context._jsc.sc()
        with contextlib.suppress(Exception):  # what it cannot do costs time, not the run
            tasks = scala.statusStore().taskList(members[0].about["stage"], 0, 1 << 20)
            executors = {
                tasks.apply(i).index(): tasks.apply(i).executorId() for i in range(tasks.size())
            }
            for executor in {executors[one.partition] for one in members}:
                scala.killAndReplaceExecutor(executor)

    def slots(self, np: int, options: RunOptions, logs: RunLogs) -> int:
        """Wait for lost slots to come back; with ``elastic``, go on with those that are there."""
        deadline = time.monotonic() + options.slot_timeout
        said = False
        # A lost executor is noticed in a moment: do not count on it before that.
        time.sleep(1.0)
        while (found := slots(self._context)) < np:
            if not said:
                logs.tell(f"{found} of {np} task slots are there; waiting for the others")
                said = True
            logs.show()
            if time.monotonic() > deadline:
                if options.elastic and found >= options.min_np:
                    logs.tell(f"going on with {found} ranks instead of {np}")
                    return found
                raise NotEnoughSlots(
                    f"{found} of {np} task slots are left {options.slot_timeout:g} s after ranks "
                    "were lost. Give the application more executors, wait longer with "
                    "options(slot_timeout=…), or allow fewer ranks with options(elastic=True)."
                )
            time.sleep(_LOOK_SECONDS)
        return np


def _result_limit(context: SparkContext) -> int:
    """Return how large a result may be to go by Spark, which ends a job that returns too much.

    Half of its limit: Spark counts what all tasks return, with what it adds itself.
    """
    value = context.getConf().get("spark.driver.maxResultSize", "1g")
    jvm = context._jvm
    assert jvm is not None
    limit = int(jvm.org.apache.spark.network.util.JavaUtils.byteStringAsBytes(value))
    return min(limit // 2, _LARGEST_RESULT) if limit > 0 else _LARGEST_RESULT


def told(error: BaseException) -> BaseException:
    """Return the error that says what ended a job, in our words where there are any."""
    if not isinstance(error, Py4JJavaError):
        return error
    message = str(error.java_exception.getMessage())
    if "cancelled" in message:
        return RunCancelled(
            f"the Spark job that the ranks ran in was ended: {spark_reason(message)}"
        )
    return HorovodRunnerError(f"Spark ended the ranks' job: {spark_reason(message)}")
