"""Whole runs on this host, in real processes: everything but the frameworks and Spark."""

import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sparkdl_library import LIBRARY, load

pytestmark = pytest.mark.starts

errors = load("_errors")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)

    def run(
        main: Callable[..., Any], *, np: int = -2, verbosity: str = "all", **options: Any
    ) -> Any:
        runner = load().HorovodRunner(np=np, driver_log_verbosity=verbosity)
        return runner.options(log_directory="logs", **options).run(main)

    return run


def only(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "logs").iterdir()
    return folder


def where_am_i() -> Callable[[], Any]:
    """Return a main; defined in here, it is sent by value and this module is not imported."""

    def main() -> Any:
        import os

        return int(os.environ["HOROVOD_RANK"]), int(os.environ["HOROVOD_SIZE"]), os.getpid()

    return main


def what_the_rendezvous_keeps() -> Callable[[], Any]:
    def main() -> Any:
        import os
        import time
        import urllib.error
        import urllib.request

        # As Horovod's own client makes it of these two.
        place = "http://{HOROVOD_GLOO_RENDEZVOUS_ADDR}:{HOROVOD_GLOO_RENDEZVOUS_PORT}".format(
            **os.environ
        )
        if os.environ["HOROVOD_RANK"] == "1":
            request = urllib.request.Request(f"{place}/global/1", b"from 1", method="PUT")
            urllib.request.urlopen(request).close()
        while True:
            try:
                with urllib.request.urlopen(f"{place}/global/1") as answer:
                    return place, answer.read()
            except urllib.error.HTTPError:
                time.sleep(0.05)

    return main


def test_ranks_find_each_other_by_a_driver_with_ipv6_only(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    local = load("_local").LocalTasks
    monkeypatch.setattr(local, "host", "[::1]")
    monkeypatch.setattr(local, "addresses", ("[::1]",))
    place, found = run(what_the_rendezvous_keeps())
    assert found == b"from 1"
    assert place.startswith("http://127.0.0.1:")


def test_rank_0s_value_comes_back(run: Callable[..., Any]) -> None:
    rank, size, pid = run(where_am_i(), np=-3)
    assert (rank, size) == (0, 3)
    assert pid != os.getpid()


def test_a_result_that_spark_would_not_take_comes_all_the_same(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    attend = load("_attend")
    monkeypatch.setattr(attend, "Terms", partial(attend.Terms, result_limit=1000))

    def returning(size: int) -> Callable[[], bytes]:
        return lambda: os.environ["HOROVOD_RANK"].encode() * size

    assert run(returning(5 << 20)) == b"0" * (5 << 20)
    assert run(returning(10)) == b"0" * 10


def test_every_rank_starts_from_nothing(run: Callable[..., Any]) -> None:
    def main() -> Any:
        import os
        import random
        import sys

        left = os.environ.get("LEFT"), getattr(sys, "left", None)
        os.environ["LEFT"] = sys.left = "yes"
        return left, random.random(), os.getpid()

    first, second = run(main, np=-1), run(main, np=-1)
    assert first[0] == second[0] == (None, None)
    assert first[1] != second[1]
    assert first[2] != second[2]


def test_everything_that_is_written_is_kept_and_shown(
    run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        import os
        import subprocess
        import sys

        print("from python")
        print("to stderr", file=sys.stderr)
        os.write(1, b"from below python\n")
        subprocess.run(["echo", "from a child"], check=True)

    run(main, np=-1)
    lines = ["from python", "to stderr", "from below python", "from a child"]
    assert (only(tmp_path) / "rank-0.log").read_text().splitlines() == lines
    assert capsys.readouterr().out.splitlines() == [f"[0] {line}" for line in lines]


def test_messages_are_cut_and_shown(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        from sparkdl.horovod import log_to_driver

        print("not this")
        log_to_driver("x" * 5000)

    run(main, np=-1, verbosity="log_callback_only")
    assert capsys.readouterr().out == f"[0] {'x' * 3997}...\n"


def test_the_first_to_raise_is_told(run: Callable[..., Any], tmp_path: Path) -> None:
    def main() -> None:
        import os
        import time

        if os.environ["HOROVOD_RANK"] == "1":
            raise ValueError("boo")
        time.sleep(60)

    with pytest.raises(errors.RankFailed) as failed:
        run(main)
    assert failed.value.rank == 1
    text = str(failed.value)
    assert "rank 1 of 2" in text
    assert "ValueError: boo" in text
    assert 'raise ValueError("boo")' in failed.value.traceback or "in main" in text
    assert "_rank.py" not in text
    assert str(only(tmp_path)) in text


def joining(then: Callable[[int], Any] = lambda _: None) -> Callable[[], Any]:
    """Return a main that joins the other ranks like ``hvd.init()``, without Horovod."""

    def main() -> Any:
        import os
        import socket

        host, rest = os.environ["HOROVOD_GLOO_RENDEZVOUS_ADDR"].split(":", 1)
        port, path = rest.split("/", 1)
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"GET /{path}/global/1 HTTP/1.1\r\n\r\n".encode())
            connection.recv(100)
        return then(int(os.environ["HOROVOD_RANK"]))

    return main


COLLECTIVE = """
import threading

def allreduce(seconds):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=seconds)  # waits in C, as a collective does

def fit(step, seconds):
    epoch = 1
    allreduce(seconds)
"""


def waiting(seconds: dict[int, float], steps: dict[int, int], sleep: dict[int, float]) -> Any:
    """Return a main that waits in something that looks like Keras and Horovod."""
    text = COLLECTIVE

    def then(rank: int) -> int:
        import time

        horovod: dict[str, Any] = {"__name__": "horovod.fake", "rank": rank}
        exec(compile(text, "/horovod/fake.py", "exec"), horovod)
        keras = {"__name__": "keras.fake", "allreduce": horovod["allreduce"]}
        exec(compile(text[text.index("def fit") :], "/keras/fake.py", "exec"), keras)
        time.sleep(sleep.get(rank, 0))
        if rank in seconds:
            keras["fit"](steps.get(rank, 0), seconds[rank])
        return rank

    return joining(then)


def test_a_rank_that_is_missing_in_a_collective_is_named(run: Callable[..., Any]) -> None:
    began = time.monotonic()
    with pytest.raises(errors.RankLost) as lost:
        run(waiting({0: 60}, {0: 4}, {1: 60}), stall_timeout=3)
    assert 3 < time.monotonic() - began < 30
    assert lost.value.rank == 1
    text = str(lost.value)
    # How long it has waited is measured, and on a busy machine more than the limit.
    waited = re.search(
        r"rank 0 waited (\d+) s in a collective for rank 1, which did not call it", text
    )
    assert waited is not None and 3 <= int(waited[1]) < 30
    assert "options(stall_timeout=3)" in text
    here = __file__
    assert re.search(
        r"rank 0 on localhost waits since \d+ s \(epoch 2, step 5\): /horovod/fake.py:\d+ in", text
    )
    assert re.search(rf"rank 1 on localhost has not moved since \d+ s: {here}:\d+ in then", text)


def test_ranks_that_did_different_numbers_of_steps_are_told_so(run: Callable[..., Any]) -> None:
    with pytest.raises(errors.RankFailed) as failed:
        run(waiting({0: 60, 1: 60}, {0: 4, 1: 2}, {}), stall_timeout=3, max_restarts=2)
    assert not isinstance(failed.value, errors.RankLost)  # the next start would end there too
    assert "all 2 ranks waited 3 s for each other: ranks did different numbers" in str(failed.value)
    assert "(epoch 2, step 5)" in str(failed.value)
    assert "(epoch 2, step 3)" in str(failed.value)


def test_waiting_for_a_rank_that_comes_is_no_stall(run: Callable[..., Any]) -> None:
    assert run(waiting({0: 3, 1: 1}, {}, {1: 2}), stall_timeout=6) == 0
    # Nor is it one when nobody waits in a collective.
    assert run(waiting({}, {}, {0: 4, 1: 1}), stall_timeout=2) == 0


def test_a_rank_that_returns_while_another_trains_is_told_and_not_tried_again(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    def main() -> None:
        import os
        import time

        if os.environ["HOROVOD_RANK"] == "1":
            time.sleep(0.5)
            raise RuntimeError("Horovod has been shut down. This was caused by an exception")

    with pytest.raises(
        errors.RankFailed, match="rank 0's main returned while rank 1 of 2 was sti"
    ) as failed:
        run(main, max_restarts=3)
    assert not isinstance(failed.value, errors.RankLost)
    assert failed.value.rank == 1
    assert "Horovod has been shut down" in failed.value.traceback
    assert "attempt 1" not in (only(tmp_path) / "run.log").read_text()


def test_ranks_that_never_join_each_other_are_warned_of(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    words = "HorovodRunner: WARNING: main has not called hvd.init() on any rank. The 2 ranks do not"
    run(where_am_i(), np=-2, verbosity="log_callback_only")
    assert words in capsys.readouterr().out

    run(joining(), np=-2)
    run(where_am_i(), np=-1)  # one rank has nobody to join
    assert "hvd.init" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import sys; sys.exit(4)", "SystemExit: 4"),
        ("import os; os._exit(4)", "ended with status 4 before main returned"),
        ("import os; os.kill(os.getpid(), 9)", r"was killed by SIGKILL"),
        ("import ctypes; print('last'); ctypes.string_at(0)", "(?s)by SIGSEGV.*last output:\nlast"),
        ("import threading; return threading.Lock()", "main returned a lock, which cannot be"),
    ],
)
def test_every_way_to_end_is_told(run: Callable[..., Any], body: str, words: str) -> None:
    names: dict[str, Any] = {}
    exec(f"def main():\n    {body}", names)
    with pytest.raises(errors.RankFailed, match=words):
        run(names["main"], np=-1)


def test_a_stopped_rank_is_noticed(run: Callable[..., Any]) -> None:
    def main() -> None:
        import os
        import signal
        import time

        if os.environ["HOROVOD_RANK"] == "1":
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(60)

    with pytest.raises(errors.RankLost, match=r"rank 1 .* was stopped by a signal"):
        run(main, rank_timeout=2)


def count(steps: int, die_at: dict[int, int], through: str) -> Any:
    """Return a main that counts to ``steps`` and dies at a step, once for each attempt."""

    def main() -> Any:
        import os
        from pathlib import Path

        from sparkdl.horovod import checkpoint

        log = Path(through)
        attempt = len(log.read_text().split()) if log.exists() else 0
        state = checkpoint.latest()
        first = state["step"] + 1 if state else 0
        if os.environ["HOROVOD_RANK"] == "0":
            log.write_text(f"{log.read_text() if log.exists() else ''}{first} ")
        total = state["total"] if state else 0
        for step in range(first, steps):
            if os.environ["HOROVOD_RANK"] == "0" and die_at.get(attempt) == step:
                os.kill(os.getpid(), 9)
            total += step
            checkpoint.save({"step": step, "total": total})
        return total

    return main


@pytest.mark.parametrize("shared", [False, True])
def test_a_run_goes_on_from_its_last_checkpoint(
    run: Callable[..., Any], tmp_path: Path, shared: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"checkpoint_directory": "shared"} if shared else {}
    through = tmp_path / "starts"
    main = count(10, {0: 3, 1: 7}, str(through))
    assert run(main, np=-1, max_restarts=2, **options) == sum(range(10))
    assert through.read_text() == "0 3 7 "
    assert "starting again (2 of 2)" in capsys.readouterr().out
    left = [one.name for one in (tmp_path).rglob("*") if "checkpoint" in one.name]
    assert left == []
    assert (only(tmp_path) / "rank-0.restart-2.log").exists() is False  # nothing was written
    assert "attempt 2 with 1 ranks" in (only(tmp_path) / "run.log").read_text()


def test_a_run_that_is_lost_for_good_leaves_its_checkpoint(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    main = count(10, {0: 3}, str(tmp_path / "starts"))
    with pytest.raises(errors.RankLost, match=r"options\(resume_from='.*checkpoint'\)"):
        run(main, np=-1)
    left = only(tmp_path) / "checkpoint"
    again = count(10, {}, str(tmp_path / "starts"))
    assert run(again, np=-1, resume_from=str(left)) == sum(range(10))
    assert (tmp_path / "starts").read_text() == "0 3 "


def test_what_main_raises_is_not_tried_again(run: Callable[..., Any], tmp_path: Path) -> None:
    def main() -> None:
        raise KeyError("mine")

    with pytest.raises(errors.RankFailed, match="KeyError"):
        run(main, np=-1, max_restarts=5)
    assert "attempt 1" not in (only(tmp_path) / "run.log").read_text()


def test_much_output_neither_blocks_nor_fills_memory(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    def main() -> int:
        import os

        for _ in range(20):
            os.write(1, (b"x" * 99 + b"\n") * (1 << 20 // 100))
        return 1

    assert run(main, np=-1, log_limit=1 << 20, verbosity="log_callback_only") == 1
    assert (only(tmp_path) / "rank-0.log").stat().st_size <= (1 << 20) + 100


def test_a_run_whose_log_directory_is_removed_goes_on_and_says_so_once(
    run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"

    def main() -> str:
        import shutil

        shutil.rmtree(folder)
        print("after")
        print("and after")
        return "a result"

    assert run(main, np=-1) == "a result"
    shown = capsys.readouterr().out
    assert "[0] after\n" in shown
    assert shown.count("WARNING: the run goes on, but its logs are not complete: ") == 1
    assert "No such file or directory" in shown


def test_an_import_that_hangs_is_told_and_leaves_nothing(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = tmp_path / "path" / "tensorflow.py"
    hanging.parent.mkdir()
    ours = tmp_path / "importing"
    hanging.write_text(
        "import os, pathlib, time\n"
        f"pathlib.Path({str(ours)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    monkeypatch.syspath_prepend(hanging.parent)

    def main() -> None:
        import tensorflow  # noqa: F401

    # A time of its own is a process of its own: the other tests' is left alone.
    with pytest.raises(
        errors.RankFailed,
        match=r"could not be started: importing tensorflow did not end within 5 s on ",
    ):
        run(main, np=-1, import_timeout=5, keep_warm=33)
    until(lambda: not alive(int(ours.read_text())))
    hanging.write_text("")
    assert run(where_am_i(), np=-1, keep_warm=33)[:2] == (0, 1)


def test_slots_that_others_hold_are_waited_for_until_a_limit(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    local = load("_local").LocalTasks
    held = "another job of this application may hold them"
    monkeypatch.setattr(local, "start", lambda *_: None)
    monkeypatch.setattr(local, "launched", lambda _: False)
    monkeypatch.setattr(local, "why_waiting", lambda *_: held)
    with pytest.raises(errors.NotEnoughSlots, match=f"after 1 s there are not.*: {held}"):
        run(where_am_i(), queue_timeout=1)


def test_what_a_rank_leaves_running_ends_with_it(run: Callable[..., Any], tmp_path: Path) -> None:
    def main() -> int:
        import subprocess

        return subprocess.Popen(["sleep", "600"]).pid

    left = run(main, np=-1)
    until(lambda: not alive(left))


def alive(pid: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX"


def test_runs_side_by_side_do_not_mix(run: Callable[..., Any]) -> None:
    def numbered(number: int) -> Any:
        def main() -> Any:
            import os
            import time

            time.sleep(0.2)
            return number, os.environ["HOROVOD_GLOO_RENDEZVOUS_ADDR"]

        return main

    results: dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: run(numbered(n))})) for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: result[0] for number, result in results.items()} == {0: 0, 1: 1, 2: 2}
    assert len({result[1] for result in results.values()}) == 3


def inventory() -> tuple[int, int, set[int]]:
    me = os.getpid()
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(me)], capture_output=True, text=True)
    children = {int(word) for word in done.stdout.split()}
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), children


def test_many_runs_leave_nothing(run: Callable[..., Any]) -> None:
    run(where_am_i())
    fds, threads, children = inventory()
    pids = [run(where_am_i())[2] for _ in range(15)]
    after = inventory()
    assert after[:2] == (fds, threads)
    assert len(after[2]) == len(children)  # the keeper, and ps itself
    assert not any(alive(pid) for pid in pids)


DRIVER = """
import os, sys, time
from sparkdl import HorovodRunner
def main(folder):
    import os, time
    open(os.path.join(folder, str(os.getpid())), "w").close()
    time.sleep(600)
HorovodRunner(np=-2).options(log_directory=sys.argv[1]).run(main, folder=sys.argv[2])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_end_of_the_driver_is_the_end_of_its_ranks(tmp_path: Path, number: int) -> None:
    ranks = tmp_path / "ranks"
    ranks.mkdir()
    command = [sys.executable, "-c", textwrap.dedent(DRIVER), str(tmp_path / "logs"), str(ranks)]
    errors = tmp_path / "errors"
    with errors.open("w") as file:
        environ = {**os.environ, "PYTHONPATH": str(LIBRARY)}
        driver = subprocess.Popen(command, env=environ, stderr=file)
    until(lambda: len(list(ranks.iterdir())) == 2)
    driver.send_signal(number)
    driver.wait()
    assert ("KeyboardInterrupt" in errors.read_text()) == (number == signal.SIGINT)
    until(lambda: not any(alive(int(one.name)) for one in ranks.iterdir()))


@pytest.mark.parametrize("moment", ["waiting", "closing", "reading"])
def test_an_interrupt_after_the_last_rank_has_returned_does_not_cost_the_result(
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    moment: str,
) -> None:
    local, supervise = load("_local"), load("_supervise")
    interrupted = []

    def once(result: Any) -> Any:
        if result is not None and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        return result

    if moment == "waiting":
        result = local.LocalTasks.result
        monkeypatch.setattr(local.LocalTasks, "result", lambda tasks: once(result(tasks)))
    elif moment == "closing":
        monkeypatch.setattr(local.LocalTasks, "close", lambda tasks: once(True))
    else:
        monkeypatch.setattr(supervise.cloudpickle, "loads", once)
    with pytest.raises(KeyboardInterrupt):
        run(where_am_i())
    monkeypatch.undo()
    kept = only(tmp_path) / "result.pickle"
    assert pickle.loads(kept.read_bytes())[:2] == (0, 2)
    assert (
        f"rank 0's result is kept: pickle.load(open({str(kept)!r}, 'rb'))"
        in capsys.readouterr().out
    )


def test_an_interrupt_while_ranks_still_run_leaves_no_result(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = load("_attempt")

    def interrupt(hosts: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(attempt, "place", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(where_am_i())
    assert not (only(tmp_path) / "result.pickle").exists()


def test_a_result_that_the_driver_cannot_read_is_kept(
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Elsewhere:
        def __reduce__(self) -> Any:
            return eval, ("__import__('os').environ['HOROVOD_RANK']",)

    with pytest.raises(KeyError):
        run(lambda: Elsewhere())
    kept = only(tmp_path) / "result.pickle"
    assert b"HOROVOD_RANK" in kept.read_bytes()
    assert "cannot be unpickled here (KeyError('HOROVOD_RANK'))" in capsys.readouterr().out


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
