"""What of ``sparkdl`` can be tested without Spark, Horovod or TensorFlow."""

import ast
import contextlib
import copy
import importlib
import inspect
import itertools
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

LIBRARY = Path(__file__).parents[3] / "images" / "sparkdl"


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(LIBRARY))


def load(name: str) -> Any:
    return importlib.import_module(f"sparkdl.{name}")


def test_the_signature_is_upstreams() -> None:
    runner = load("_runner").HorovodRunner
    assert inspect.getfullargspec(runner.__init__) == inspect.FullArgSpec(
        args=["self"],
        varargs=None,
        varkw=None,
        defaults=None,
        kwonlyargs=["np", "driver_log_verbosity"],
        kwonlydefaults={"driver_log_verbosity": "log_callback_only"},
        annotations={},
    )
    assert inspect.getfullargspec(runner.run) == inspect.FullArgSpec(
        args=["self", "main"],
        varargs=None,
        varkw="kwargs",
        defaults=None,
        kwonlyargs=[],
        kwonlydefaults=None,
        annotations={},
    )


def test_np_must_be_named() -> None:
    with pytest.raises(TypeError):
        load("_runner").HorovodRunner(2)


@pytest.mark.parametrize("np", [2.0, "2", None, True])
def test_np_must_be_a_whole_number(np: Any) -> None:
    with pytest.raises(TypeError, match="whole number"):
        load("_runner").HorovodRunner(np=np)


def test_an_unknown_verbosity_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'all' or 'log_callback_only', not 'loud'"):
        load("_runner").HorovodRunner(np=2, driver_log_verbosity="loud")


def test_all_slots_is_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match="number of ranks"):
        load("_runner").HorovodRunner(np=0)


def test_main_must_be_callable() -> None:
    with pytest.raises(TypeError, match="callable"):
        load("_runner").HorovodRunner(np=-1).run(3)


def test_ranks_of_a_host_are_neighbours() -> None:
    placements = load("_ranks").place(["b", "a", "b", "c", "a", "b"])
    assert [one.rank for one in placements] == [0, 3, 1, 5, 4, 2]
    assert [one.local_rank for one in placements] == [0, 0, 1, 0, 1, 2]
    assert [one.local_size for one in placements] == [3, 2, 3, 1, 2, 3]
    assert [one.cross_rank for one in placements] == [0, 1, 0, 2, 1, 0]
    assert [one.cross_size for one in placements] == [3, 3, 2, 3, 2, 1]


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12))
def test_placements_fit_together(hosts: list[str]) -> None:
    placements = load("_ranks").place(hosts)
    assert sorted(one.rank for one in placements) == list(range(len(hosts)))
    assert placements[0].rank == 0
    assert [one.host for one in placements] == hosts
    by_rank = sorted(placements, key=lambda one: one.rank)
    order = [one.host for one in by_rank]
    assert sum(a != b for a, b in itertools.pairwise(order)) == len(set(hosts)) - 1
    for host, count in Counter(hosts).items():
        locals_ = [one.local_rank for one in by_rank if one.host == host]
        assert locals_ == list(range(count))
    for local_rank in {one.local_rank for one in placements}:
        peers = [one for one in by_rank if one.local_rank == local_rank]
        assert [one.cross_rank for one in peers] == list(range(len(peers)))
        assert {one.cross_size for one in peers} == {len(peers)}


def failure(rank: int, summary: str) -> Any:
    return load("_errors").Failure(rank=rank, host="h", summary=summary, traceback="Trace")


def test_the_cause_is_told_and_not_its_consequences() -> None:
    failures = [
        failure(0, "UnknownError: Horovod has been shut down. This was caused by an exception"),
        failure(1, "ValueError: boo"),
        failure(2, "KeyError: 3"),
    ]
    error = load("_errors").first_cause(failures).as_error(3)
    assert error.rank == 1
    assert str(error) == "rank 1 of 3 on h failed: ValueError: boo\n\nTrace"


def test_consequences_alone_are_no_cause() -> None:
    victim = failure(0, "UnknownError: Horovod has been shut down")
    assert load("_errors").first_cause([victim]) is None


def exceptions() -> list[type[BaseException]]:
    """Return every exception that the library defines, wherever it does."""
    found: set[type[BaseException]] = set()
    for path in sorted((LIBRARY / "sparkdl").rglob("_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        if not any("Error" in ast.unparse(node) for node in ast.walk(tree)):
            continue
        module = ".".join(path.relative_to(LIBRARY / "sparkdl").with_suffix("").parts)
        with contextlib.suppress(ImportError):  # one that needs a framework
            values = [getattr(load(module), name, None) for name in names]
            found |= {v for v in values if isinstance(v, type) and issubclass(v, BaseException)}
    return sorted(found, key=lambda one: one.__name__)


def test_every_exception_can_be_copied_and_pickled() -> None:
    known = exceptions()
    assert {"RankFailed", "RankLost", "NotSendable", "DataError", "Closed"} <= {
        one.__name__ for one in known
    }
    for kind in known:
        first = kind("what and why")
        first.rank, first.traceback, first.code = 1, "Trace", 7  # type: ignore[attr-defined]
        copies = [copy.copy(first), copy.deepcopy(first), pickle.loads(pickle.dumps(first))]
        for one in copies:
            assert type(one) is kind
            assert (str(one), vars(one)) == (str(first), vars(first))


def test_an_error_that_was_made_by_a_run_survives_a_copy() -> None:
    made = failure(1, "ValueError: boo").as_error(3)
    for one in (copy.copy(made), pickle.loads(pickle.dumps(made))):
        assert (type(one), one.rank, one.traceback) == (type(made), 1, "Trace")
        assert str(one) == str(made)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-11, "was killed by SIGSEGV"),
        (-9, "was killed by SIGKILL (the kernel does that when memory runs out)"),
        (-99, "was killed by signal 99"),
        (3, "ended with status 3 before main returned"),
        (None, "died, and the process that it was forked from too"),
    ],
)
def test_a_death_is_told_by_its_status(status: int | None, words: str) -> None:
    assert load("_errors").how_it_ended(status) == words


def test_the_last_words_of_a_lost_rank_are_told() -> None:
    error = load("_errors").lost(1, 2, "b", "was killed by SIGSEGV", "Fatal error")
    assert isinstance(error, load("_errors").RankFailed)
    assert str(error).startswith("rank 1 of 2 on b was killed by SIGSEGV\n")
    assert str(error).endswith("Its last output:\nFatal error")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            "Job aborted due to stage failure: barrier task ResultTask(6, 1) finished.\n"
            "org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)\n"
            "\tat org.apache.spark.api.python.BasePythonRunner",
            "Python worker exited unexpectedly (crashed)",
        ),
        (
            "Job aborted due to stage failure: barrier task ResultTask(6, 1) finished.\n"
            "org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n"
            '  File "_attend.py", line 70, in attend\nConnectionError: no way to the driver\n'
            "\n\tat org.apache.spark.api.python.BasePythonRunner",
            "ConnectionError: no way to the driver",
        ),
        ("ExecutorLostFailure (executor 1 exited)", "ExecutorLostFailure (executor 1 exited)"),
        ("", "no reason given"),
    ],
)
def test_of_sparks_many_words_those_that_matter_are_told(message: str, words: str) -> None:
    assert load("_errors").spark_reason(message) == words


def test_a_failure_travels_as_text() -> None:
    one = failure(1, "ValueError: ünï")
    assert load("_errors").Failure.from_json(one.to_json()) == one


@pytest.mark.starts
def test_importing_the_package_loads_no_framework() -> None:
    import subprocess
    import sys

    program = "import sys, sparkdl; print(*{'tensorflow', 'pyspark', 'horovod'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(LIBRARY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""
