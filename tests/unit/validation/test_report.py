"""The report's three forms and its exit code."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.validation.report import CheckResult, Report, ReportedHost, Status, numbers

PASSED = CheckResult(
    name="mllib.pca", status="passed", seconds=1.25, detail={"error": 1.5e-9}, error=None
)
FAILED = CheckResult(
    name="mllib.als", status="failed", seconds=2, detail={}, error="rmse 3 > 1\nTraceback\n  x"
)
NOT_RUN = CheckResult(
    name="graphframes.bfs", status="not-run", seconds=0, detail={}, error="no jar"
)


def report(*checks: CheckResult) -> Report:
    return Report(
        runtime="6.0-ml",
        variant="cpu",
        image="sha256:" + "1" * 64,
        manifest=None,
        lock="sha256:" + "2" * 64,
        workers=2,
        host=ReportedHost(kernel="6.1", cpus=2, memory=8 << 30, engine="Docker Engine 20.10"),
        started="2026-11-22T00:00:00Z",
        seconds=12.34567,
        checks=checks,
    )


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ((PASSED,), 0),
        ((PASSED, NOT_RUN), 8),
        ((FAILED, NOT_RUN, PASSED), 7),
        ((FAILED,), 7),
        ((), 7),
    ],
)
def test_exit_code(checks: tuple[CheckResult, ...], code: int) -> None:
    assert report(*checks).exit_code == code


def test_a_passed_check_has_no_error_and_others_have_one() -> None:
    with pytest.raises(ValueError, match="passed with error"):
        replace(PASSED, error="but")
    with pytest.raises(ValueError, match="failed with error None"):
        replace(FAILED, error=None)


def test_json_is_the_documented_form() -> None:
    value = json.loads(report(PASSED, FAILED, NOT_RUN).to_json())
    assert value["format"] == 1
    assert (value["passed"], value["failed"], value["not_run"]) == (1, 1, 1)
    assert value["seconds"] == 12.346
    assert value["checks"][0] == {
        "name": "mllib.pca",
        "status": "passed",
        "seconds": 1.25,
        "detail": {"error": 1.5e-9},
        "error": None,
    }
    assert value["checks"][2]["status"] == "not-run"
    assert set(value["host"]) == {"kernel", "cpus", "memory", "engine"}


def test_junit_has_a_suite_per_family_and_counts_that_add_up() -> None:
    top = ElementTree.fromstring(report(PASSED, FAILED, NOT_RUN).to_junit())
    assert top.attrib["tests"] == "3"
    suites = {suite.attrib["name"]: suite for suite in top.findall("testsuite")}
    assert set(suites) == {"mllib", "graphframes"}
    assert suites["mllib"].attrib["failures"] == "1"
    failure = suites["mllib"].find("testcase[@name='mllib.als']/failure")
    assert failure is not None
    assert failure.attrib["message"] == "rmse 3 > 1"
    assert failure.text == FAILED.error
    skipped = suites["graphframes"].find("testcase/skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == "no jar"


@given(st.text(min_size=1).filter(str.strip), st.sampled_from(["failed", "not-run"]))
def test_junit_is_xml_whatever_an_error_says(error: str, status: Status) -> None:
    check = CheckResult(name="spark.join", status=status, seconds=0, detail={}, error=error)
    ElementTree.fromstring(report(check).to_junit().encode())


def test_the_table_names_every_check_and_tells_errors_in_full() -> None:
    text = report(PASSED, FAILED, NOT_RUN).to_text()
    lines = text.splitlines()
    assert lines[1].split() == ["mllib.pca", "ok", "1.25", "error=1.5e-09"]
    assert "mllib.als: rmse 3 > 1\nTraceback\n  x" in text
    assert "not run" in lines[3]
    assert lines.count("not run: no jar") == 1
    assert lines[-1] == "1 of 3 checks passed, 1 failed, 1 not run in 12.3 s"
    assert report(PASSED).to_text().splitlines()[-1] == "1 of 1 checks passed in 12.3 s"


def test_the_table_keeps_to_its_width() -> None:
    wide = replace(PASSED, detail={"x": "y" * 500})
    assert max(map(len, report(wide).to_text(width=80).splitlines()[:2])) == 80


def test_numbers_on_one_line() -> None:
    detail = {"a": 0.123456, "b": [1, 2.0], "c": True, "d": {"got": 3, "want": 3}, "e": None}
    assert numbers(detail) == "a=0.1235 b=[1,2] c=True d=3 e=None"
