"""The plan of `python -m tests.chaos`, and how it judges jobs."""

from typing import Any

import pytest

from tests.chaos.plan import WEIGHTS, Ended, faults, judged, summary

KINDS = tuple(WEIGHTS)
WARNING = "26/11/28 13:45:19 WARN TaskSetManager: Lost task 0.0 in stage 1.0: executor 1 failed"
STACK = """\
26/11/28 13:45:19 ERROR Worker: Failed to connect to master
org.apache.spark.SparkException: Exception thrown in awaitResult:
\tat org.apache.spark.Outbox.run(Outbox.scala:1)
Caused by: java.io.IOException: Connection from w/10.0.0.1:7077 closed"""
PY4J = """\
Traceback (most recent call last):
  File "/home/ml/sums.py", line 9, in <module>
py4j.protocol.Py4JJavaError: An error occurred while calling z:PythonRDD.collectAndServe.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 1 in stage 0.0 failed
4 times: ExecutorLostFailure (executor 3 exited caused by one of the running tasks)
\tat org.apache.spark.scheduler.DAGScheduler.failJobAndIndependentStages(DAGScheduler.scala:2898)"""


def test_a_seed_stands_for_its_faults() -> None:
    plan = faults(1, 600, 3, KINDS)
    assert plan == faults(1, 600, 3, KINDS)
    assert plan != faults(2, 600, 3, KINDS)
    # A longer run begins as a shorter one does.
    assert faults(1, 1200, 3, KINDS)[: len(plan)] == plan
    assert {fault.kind for fault in faults(1, 3600, 3, KINDS)} == set(KINDS)
    assert {fault.worker for fault in plan} == {1, 2, 3}
    assert all(0 < fault.seconds < 600 for fault in plan)
    assert {fault.kind for fault in faults(1, 600, 3, ("worker",))} == {"worker"}


@pytest.mark.parametrize(
    ("code", "out", "err", "verdict"),
    [
        (0, 'a line\nRESULT {"sum": 3}', "", "right"),
        (0, 'RESULT {"sum": 4}', "", "wrong"),
        (0, "", "", "wrong"),
        (0, 'RESULT {"sum": 3}\nRESULT {"sum": 3}', "", "wrong"),
        (1, "", PY4J, "said why"),
        (
            1,
            "",
            "sparkdl.RankLost: rank 1 of 2 on w was killed (SIGKILL)\n\nIts last output:\nx",
            "said why",
        ),
        (
            137,
            "",
            "mlruntime: job-1 was killed: it used more than the 2 GiB of its container",
            "said why",
        ),
        # What Spark warns of while all is well, and what ends a program for its own reasons.
        (1, "", f"{WARNING}\n{STACK}", "silent"),
        (1, "", f"{WARNING}\nKeyError: 'sum'", "silent"),
        (1, "", f"{PY4J}\nKeyError: 'sum'", "silent"),
        (1, "", "org.apache.spark.SparkException: Job 3 was not understood", "silent"),
        # Somebody ended it, and nobody says so: its own words before are no reason.
        (137, "", PY4J, "silent"),
        (143, "", WARNING, "silent"),
        (1, 'RESULT {"sum": 3}', "Setting default log level", "silent"),
        (None, 'RESULT {"sum": 3}', "", "hung"),
    ],
)
def test_the_end_of_a_job_is_judged(code: int | None, out: str, err: str, verdict: str) -> None:
    def right(told: Any) -> bool:
        return bool(told == {"sum": 3})

    found, _ = judged(Ended(exit_code=code, stdout=out, stderr=err), right)
    assert found == verdict


def test_a_run_is_summed_up() -> None:
    told = summary(["right", "said why", "right"], [3.0, 1.0, 2.0])
    assert told == {
        "jobs": 3, "right": 2, "said why": 1, "median s": 2.0, "95% s": 3.0, "longest s": 3.0,
    }  # fmt: skip
    assert summary([], []) == {"jobs": 0}
