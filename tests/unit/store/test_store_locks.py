"""The locks of the store: where there are none, and a word while somebody waits."""

import errno
import threading
from pathlib import Path

import pytest
from mlruntime.store.locking import file_system, held
from mlruntime.store.store import Store

from tests.unit.apart import FLOCK, outcome, refuse


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
@pytest.mark.parametrize("use", ["scratch", "lock", "shared", "alone"])
def test_a_file_system_without_locks_is_told(tmp_path: Path, use: str, number: int) -> None:
    store = Store(tmp_path)

    def work() -> None:
        refuse((FLOCK,), number)
        with store.lock("name") if use == "lock" else getattr(store, use)():
            pass

    said = outcome(work).splitlines()
    assert said[0].startswith("StorageError: ")
    assert said[0].endswith(": this file system has no file locks")
    assert said[1].startswith(f"  why: {file_system(tmp_path)}: ")
    assert said[2] == "  try: set MLRUNTIME_STORE; local disks have them"


def test_the_file_system_of_a_path_is_known() -> None:
    assert file_system(Path("/proc/self/fd")) == "proc at /proc"


def test_who_waits_is_told_what_for(tmp_path: Path) -> None:
    told, done = threading.Event(), threading.Event()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        told.set()

    def second() -> None:
        with Store(tmp_path, say).lock("name"):
            done.set()

    with Store(tmp_path).lock("name"):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert told.wait(60) and not done.is_set()
    waiting.join(60)
    assert done.is_set()
    assert said == [f"waiting for another mlruntime, which has {tmp_path}/locks/name"]


def test_who_need_not_wait_is_told_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    with held(tmp_path, say=said.append):
        pass
    assert said == []
