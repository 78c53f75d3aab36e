"""Which runs' logs are kept, and which are removed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.sparkdl_library import LIBRARY, load

retention = load("_retention")


def made(folder: Path, *numbers: int) -> list[Path]:
    """Make the directories of runs that started in these seconds."""
    paths = [folder / f"20260101-0000{number:02}-abc{number:03}" for number in numbers]
    for path in paths:
        path.mkdir(parents=True)
        (path / "rank-0.log").write_text("x")
    return paths


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@given(
    count=st.integers(0, 12), keep=st.integers(1, 12),
    held=st.sets(st.integers(0, 11)), saved=st.sets(st.integers(0, 11)),
)  # fmt: skip
def test_the_newest_stay_and_so_do_runs_in_progress_and_checkpoints(
    tmp_path_factory: pytest.TempPathFactory, count: int, keep: int, held: set[int], saved: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    paths = made(folder, *range(count))
    for number in saved & set(range(count)):
        (paths[number] / "checkpoint").write_bytes(b"weights")
    locks = [retention.occupy(paths[number]) for number in held if number < count]
    removed = retention.prune(folder, keep)
    for lock in locks:
        os.close(lock)
    may_go = [number for number in range(count) if number not in saved]
    oldest = may_go[: max(0, len(may_go) - keep)]
    gone = {paths[number] for number in oldest if number not in held}
    assert set(removed) == gone
    assert left(folder) == {path.name for path in paths} - {path.name for path in gone}


def test_what_no_run_of_ours_has_made_stays(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    (elsewhere,) = made(tmp_path / "elsewhere", 7)
    made(folder, 8, 9)
    (folder / "notes").mkdir()
    (folder / "20260101-000001-abcdef").write_text("a file with such a name")
    (folder / "20260101-000002-abcdef").symlink_to(elsewhere)
    (folder / "20260101-000003-abcdef-copy").mkdir()
    before = left(folder)
    retention.prune(folder, 1)
    assert before - left(folder) == {"20260101-000008-abc008"}
    assert (elsewhere / "rank-0.log").exists()


@pytest.mark.starts
def test_another_programs_run_in_progress_is_left_alone(tmp_path: Path) -> None:
    oldest, *_ = made(tmp_path, 1, 2, 3)
    program = f"""
import sys
sys.path.insert(0, {str(LIBRARY)!r})
from pathlib import Path
from sparkdl import _retention
assert _retention.occupy(Path({str(oldest)!r})) is not None
print("holding", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"holding\n"
        assert [path.name for path in retention.prune(tmp_path, 1)] == ["20260101-000002-abc002"]
        child.kill()
        child.wait()
        # Its lock has ended with it, although it never said so.
        assert retention.prune(tmp_path, 1) == [oldest]
    finally:
        child.kill()
        child.communicate()


def test_a_place_that_is_not_there_has_nothing_to_remove(tmp_path: Path) -> None:
    assert retention.prune(tmp_path / "none", 1) == []


def test_runs_remove_the_oldest_as_they_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(number: int, **changed: Any) -> Any:
        options: dict[str, Any] = {
            "directory": str(tmp_path), "run": f"20260101-0000{number:02}-abcdef",
            "everything": False, "limit": 10, "keep": 2, "checkpoints": None, "resume_from": None,
        }  # fmt: skip
        logs = load("_logs").RunLogs(**{**options, **changed})
        logs.event("it began")
        return logs

    slow = run(0)
    for number in range(1, 6):
        run(number).close()
    names = {f"20260101-0000{number:02}-abcdef" for number in (0, 4, 5)}
    assert left(tmp_path) == names
    slow.close()  # the oldest, but its own logs are not taken from under the user's eyes
    assert left(tmp_path) == names
    run(6, keep=None).close()
    assert len(left(tmp_path)) == 4
    run(7, keep=1).close()
    assert left(tmp_path) == {"20260101-000007-abcdef"}
