"""The plan of `python -m tests.chaos`, and how it judges jobs."""

from typing import Any

import pytest

from tests.chaos.plan import WEIGHTS, Ended, faults, judged, summary

KINDS = tuple(WEIGHTS)


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
        (1, "", "org.apache.spark.SparkException: Job aborted", "said why"),
        (137, "", "mlruntime: job-1 was killed: it used more", "said why"),
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
