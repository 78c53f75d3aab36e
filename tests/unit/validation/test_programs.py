"""The harness the checks run in: nothing that goes wrong may look like a pass."""

import io
import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from mlruntime.validation import catalog
from mlruntime.validation.programs import fresh, harness, processes
from mlruntime.validation.programs.harness import Expectation, Mismatch, Proof

# Where a new process finds this module again.
HERE = {"PYTHONPATH": str(Path(__file__).parents[3])}

VALIDATION = Path(catalog.__file__).parent
FakeCheck = Callable[[Any, Proof], None]


def events(checks: Mapping[str, FakeCheck]) -> list[dict[str, Any]]:
    out = io.StringIO()
    harness.run(list(checks), cluster=None, out=out, lookup=lambda name: checks[name])
    return [json.loads(line) for line in out.getvalue().splitlines()]


def outcome(check: FakeCheck) -> dict[str, Any]:
    started, ended, done = events({"fake.one": check})
    assert started == {"event": "start", "check": "fake.one"}
    assert (ended["event"], ended["check"]) == ("end", "fake.one")
    assert done == {"event": "done"}
    return ended


def test_a_check_that_compares_and_finds_no_difference_passes() -> None:
    ended = outcome(lambda cluster, proof: proof.equal("sum", 6, 6))
    assert ended["status"] == "passed"
    assert ended["error"] is None
    assert ended["detail"] == {"sum": {"got": 6, "want": 6}}
    assert ended["seconds"] >= 0


def test_a_check_that_compares_nothing_fails() -> None:
    ended = outcome(lambda cluster, proof: proof.note("sum", 6))
    assert ended["status"] == "failed"
    assert "without comparing" in ended["error"]


def test_a_difference_fails_and_keeps_the_numbers() -> None:
    ended = outcome(lambda cluster, proof: proof.close("loss", 1.5, 1.0, within=0.1))
    assert ended["status"] == "failed"
    assert ended["error"] == "loss: got 1.5, want 1.0"
    assert ended["detail"]["loss"]["distance"] == 0.5


@pytest.mark.parametrize("problem", [ValueError("no\nsecond line"), SystemExit(0), Mismatch("x")])
def test_whatever_a_check_raises_fails_it(problem: BaseException) -> None:
    def check(cluster: Any, proof: Proof) -> None:
        proof.equal("one", 1, 1)
        raise problem

    ended = outcome(check)
    assert ended["status"] == "failed"
    assert ended["error"]


def test_an_exception_is_told_in_one_line_and_then_its_traceback() -> None:
    def check(cluster: Any, proof: Proof) -> None:
        raise ValueError("no\nsecond line")

    lines = outcome(check)["error"].splitlines()
    assert lines[0] == "ValueError: no"
    assert lines[1].startswith("Traceback")
    assert any("in check" in line for line in lines)


def test_one_failure_does_not_keep_the_next_from_running() -> None:
    def bad(cluster: Any, proof: Proof) -> None:
        raise RuntimeError

    told = events({"fake.bad": bad, "fake.good": lambda c, proof: proof.equal("x", 1, 1)})
    statuses = [event["status"] for event in told if event["event"] == "end"]
    assert statuses == ["failed", "passed"]


def test_a_check_that_cannot_be_found_fails() -> None:
    out = io.StringIO()
    harness.run(["identity.nothing", "nowhere.at_all"], cluster=None, out=out)
    ends = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [event["status"] for event in ends if event["event"] == "end"] == ["failed"] * 2


def test_an_interrupt_is_not_a_failed_check() -> None:
    def check(cluster: Any, proof: Proof) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outcome(check)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (math.nan, math.nan),
        (math.nan, 1.0),
        (math.inf, 1.0),
        ([1.0, 2.0], [1.0]),
        ([[1.0]], [1.0]),
        (None, 1.0),
        ("1.0", 1.0),
        (True, 1.0),
        ([], 1.0),
    ],
)
def test_things_that_are_never_close(got: Any, want: Any) -> None:
    with pytest.raises(Mismatch):
        Proof().close("x", got, want, within=1e9)


def test_close_measures_the_largest_distance() -> None:
    proof = Proof()
    proof.close("x", [[1.0, 2.0], [3.0, 4.25]], [[1, 2], [3, 4]], within=0.25)
    assert proof.detail["x"]["distance"] == 0.25
    with pytest.raises(Mismatch):
        proof.close("x", [[1.0, 2.0], [3.0, 4.25]], [[1, 2], [3, 4]], within=0.2)


def test_limits_exclude_themselves_and_not_a_number() -> None:
    proof = Proof()
    proof.above("x", 2.0, 1.0)
    proof.below("x", 1.0, 2.0)
    for got in (1.0, math.nan):
        with pytest.raises(Mismatch):
            proof.above("x", got, 1.0)
        with pytest.raises(Mismatch):
            proof.below("x", got, 1.0)


def test_tuples_and_sets_compare_as_lists() -> None:
    Proof().equal("x", {"b", "a"}, ["a", "b"])
    Proof().equal("x", (1, (2,)), [1, [2]])


def test_numbers_json_has_no_word_for_become_text() -> None:
    ended = outcome(lambda cluster, proof: proof.equal("x", math.inf, 1.0))
    assert ended["detail"]["x"]["got"] == "inf"


@pytest.mark.starts
def test_nothing_but_events_reaches_stdout() -> None:
    program = """
import os, sys
from programs import harness
out = harness.claim_stdout()
def noisy(cluster, proof):
    print("noise from Python")
    os.write(1, b"noise from below\\n")
    os.system("echo noise from a child")
    proof.equal("x", 1, 1)
harness.run(["fake.noisy"], None, out, lambda name: noisy)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=VALIDATION, capture_output=True, text=True, check=True
    )
    told = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert told == ["start", "end", "done"]
    assert done.stderr.count("noise from") == 3


@pytest.mark.starts
def test_a_process_that_dies_leaves_a_start_without_an_end() -> None:
    program = """
import os
from programs import harness
out = harness.claim_stdout()
harness.run(["fake.dies", "fake.next"], None, out, lambda name: lambda c, p: os._exit(139))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=VALIDATION, capture_output=True, text=True
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"event": "start", "check": "fake.dies"}
    ]


def _who() -> tuple[str, int]:
    return os.environ["FRESH"], os.getpid()


def _fails() -> None:
    print("before")
    raise ValueError("the reason")


def _dies() -> None:
    os._exit(3)


@pytest.fixture
def pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickle by reference: the new process can import this module, and needs no cloudpickle."""
    monkeypatch.setitem(sys.modules, "cloudpickle", pickle)
    monkeypatch.chdir(VALIDATION.parents[1])


@pytest.mark.starts
@pytest.mark.usefixtures("pickled")
def test_a_fresh_process_has_the_variables_and_gives_the_answer_back() -> None:
    name, pid = fresh.call(_who, {"FRESH": "yes", **HERE})
    assert name == "yes"
    assert pid != os.getpid()
    assert "FRESH" not in os.environ


@pytest.mark.starts
@pytest.mark.usefixtures("pickled")
def test_a_fresh_process_that_fails_says_why() -> None:
    with pytest.raises(Mismatch, match=r"ended with 1\n(.|\n)*before(.|\n)*the reason"):
        fresh.call(_fails, HERE)
    with pytest.raises(Mismatch, match="ended with 3"):
        fresh.call(_dies, HERE)


EXPECT: dict[str, Any] = {
    "master": "spark://m:7077",
    "workers": 2,
    "worker_hosts": ["a", "b"],
    "driver_host": "d",
    "python_packages": {"numpy": "1.26.4"},
    "components": {"spark": "3.5.9"},
    "java": "17",
    "image": None,
}


def test_the_expectation_is_read_and_must_be_complete() -> None:
    expect = Expectation.read(EXPECT)
    assert expect.time_factor == 1
    assert Expectation.read({**EXPECT, "time_factor": 2.5}).time_factor == 2.5
    assert expect.worker_hosts == ("a", "b")
    assert expect.shared == "/shared"
    for name in EXPECT:
        with pytest.raises(KeyError):
            Expectation.read({key: value for key, value in EXPECT.items() if key != name})


def test_own_process_is_found_in_proc() -> None:
    pid = int(Path("/proc/self").resolve().name)
    assert any("python" in Path(file).name for file in processes.mapped_files(pid))
    assert "PATH" in processes.environment(pid)
    with pytest.raises(RuntimeError, match="no JVM"):
        processes.java_pid()
