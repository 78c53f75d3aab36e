"""When ranks wait for each other in vain, and what is told of it."""

import sys
import threading
from typing import Any

import pytest

from tests.unit.sparkdl_library import load

errors = load("_errors")
standing = load("_standing")
stall = load("_stall")
imports = load("_imports")

ALLREDUCE = {"within": "horovod", "where": "train.py:3 in main, in horovod's allreduce"}


def places(*ranks: dict[str, Any]) -> dict[int, Any]:
    return {
        number: stall.Place(host="abc"[number], standing=standing.Standing(**one))
        for number, one in enumerate(ranks)
    }


def test_nobody_is_to_blame_while_the_time_is_not_over() -> None:
    assert stall.judge(places({"still": 9.9, **ALLREDUCE}, {}), 10) is None
    assert stall.judge(places({}, {}), 10) is None


@pytest.mark.parametrize(
    "working",
    [
        {},  # it moves: an evaluation on one rank, say
        {"still": 50, "within": "tensorflow", "busy": 0.9, "where": "x"},  # a long step
        {"still": 50, "where": "x.py:1 in main"},  # it sleeps
    ],
)
def test_the_rank_that_others_wait_for_is_named(working: dict[str, Any]) -> None:
    found = stall.judge(places({"still": 10.4, **ALLREDUCE}, working), 10)
    assert isinstance(found, errors.RankLost)
    assert found.rank == 1
    assert str(found).startswith("rank 0 waited 10 s in a collective for rank 1, which did not")
    assert "rank 0 on a waits since 10 s: train.py:3 in main, in horovod's allreduce" in str(found)
    assert "rank 1 on b " in str(found)


def test_a_rank_that_has_just_come_may_be_the_one_that_lets_all_go_on() -> None:
    just = {"still": 1, **ALLREDUCE}
    assert stall.judge(places({"still": 99, **ALLREDUCE}, just), 10) is None


def test_a_rank_that_computes_in_a_call_is_not_waiting() -> None:
    # One call of TensorFlow may be thousands of steps.
    computing = {"still": 99, "within": "tensorflow", "busy": 0.5}
    assert stall.judge(places(computing, computing), 10) is None


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([(1, 2), (1, 3)], "ranks did different numbers of steps"),
        ([(2, 1), (1, 9)], "ranks did different numbers of steps"),
        ([(1, 2), (1, 2)], "they have called different collectives"),
        ([(None, None), (1, 2)], "they have called different collectives"),
    ],
)
def test_ranks_that_all_wait_are_told_why(counts: list[Any], words: str) -> None:
    ranks = [{"still": 11, "epoch": e, "step": s, **ALLREDUCE} for e, s in counts]
    found = stall.judge(places(*ranks), 10)
    assert type(found) is errors.RankFailed  # it would happen again
    assert words in str(found)


def test_what_a_rank_says_of_itself_arrives() -> None:
    one = standing.Standing(still=2.5, busy=0.1, within="horovod", where="w", epoch=1, step=2)
    assert standing.Standing.from_dict(one.to_dict()) == one


def in_thread(names: dict[str, Any], call: str) -> Any:
    """Return how a thread is described that waits in ``names[call]``."""
    lock = threading.Lock()
    names["lock"] = lock
    with lock:
        thread = threading.Thread(target=names[call], daemon=True)
        thread.start()
        while True:
            frame = sys._current_frames()[thread.ident or 0]
            if frame.f_code.co_name == "waits":
                break
        found = standing.standing(frame, still=1.0, busy=0.0)
    thread.join()
    return found


def code(text: str, file: str, module: str, **more: Any) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": module, **more}
    exec(compile(text, file, "exec"), names)
    return names


def test_the_users_line_and_the_librarys_call_are_both_named() -> None:
    import sysconfig

    site = sysconfig.get_paths()["purelib"]
    operation = code("def waits():\n    lock.acquire(); lock.release()", "<string>", "8f2")
    call = code(
        "def allreduce():\n    waits()\n",
        f"{site}/horovod/tensorflow/__init__.py",
        "horovod.tensorflow",
        waits=operation["waits"],
    )
    fit = code(
        "def outer():\n    def error_handler():\n        fit()\n    error_handler()\n"
        "def fit():\n    epoch, step = 0, 6\n    allreduce()\n",
        f"{site}/keras/trainer.py",
        "keras.trainer",
        allreduce=call["allreduce"],
    )
    main = code("def main():\n    outer()\n", "/home/me/train.py", "__main__", outer=fit["outer"])
    operation["main"] = main["main"]
    found = in_thread(operation, "main")
    assert found.where == ("/home/me/train.py:2 in main, in keras's outer, in horovod's allreduce")
    assert (found.within, found.epoch, found.step) == ("horovod", 1, 7)


def test_waiting_in_ones_own_code_is_not_waiting_for_ranks() -> None:
    names = code("def waits():\n    lock.acquire(); lock.release()", "/home/me/t.py", "__main__")
    found = in_thread(names, "waits")
    assert (found.within, found.epoch) == ("", None)
    assert found.where.startswith("/home/me/t.py:2 in waits")


def test_a_module_is_met_when_it_is_imported(tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "sparkdl_met.py").write_text("value = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    met: list[int] = []
    before = list(sys.meta_path)
    imports.after_import("sparkdl_met", lambda module: met.append(module.value))
    assert met == []
    import importlib

    importlib.import_module("sparkdl_met")
    imports.after_import("sparkdl_met", lambda module: met.append(module.value))
    assert met == [3, 3]
    assert sys.meta_path == before
