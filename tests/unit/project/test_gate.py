"""The regression gate, `./dev bench gate`: what it judges, and that its baseline is whole."""

import json

import pytest

from tests.benchmarks.gate import BASELINE, VERBS, Measured, judge


def measured(value: float) -> Measured:
    return Measured(name="bytes", value=value, tolerance=0.02)


@pytest.mark.parametrize(("value", "worse"), [(50, False), (102, False), (103, True)])
def test_more_than_the_tolerance_is_worse(value: float, worse: bool) -> None:
    (verdict,) = judge([measured(value)], {"bytes": 100})
    assert verdict.worse is worse
    assert ("WORSE" in verdict.row()) is worse


def test_a_new_figure_is_shown_and_judged_by_nothing() -> None:
    (verdict,) = judge([measured(5)], {})
    assert not verdict.worse
    assert verdict.row().startswith("new")


def test_a_figure_of_the_baseline_that_nobody_measures_is_an_error() -> None:
    with pytest.raises(ValueError, match="not measured: seconds"):
        judge([measured(5)], {"bytes": 5, "seconds": 1})


def test_the_baseline_has_each_verb_twice_and_the_locks_bytes() -> None:
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))
    for verb in VERBS:
        assert {f"processor seconds, {verb}", f"peak memory in KiB, {verb}"} <= set(baseline)
    assert any(name.startswith("bytes, artifacts of") for name in baseline)
