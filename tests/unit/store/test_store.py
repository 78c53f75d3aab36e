"""The store: nothing half-written, whoever dies in the middle, and nothing made twice."""

import errno
import hashlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlruntime.errors import HashMismatch, StorageError
from mlruntime.store.store import Store, storage_errors

SPAWN = multiprocessing.get_context("spawn")
SHA = hashlib.sha256(b"content").hexdigest()
SECONDS = 60


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def scratches(store: Store) -> set[str]:
    return {path.name for path in (store.root / "tmp").iterdir()}


@given(content=st.binary(max_size=4096), lie=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_blob_is_what_its_name_says_or_it_is_not_there(
    content: bytes, lie: bool, tmp_path: Path
) -> None:
    store, file = Store(tmp_path / "store"), tmp_path / "file"
    file.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    store.discard(sha256)
    if lie:
        other = hashlib.sha256(content + b"!").hexdigest()
        with pytest.raises(HashMismatch, match=other):
            store.adopt_blob(file, other)
        assert store.blob(other) is None
    else:
        adopted = store.adopt_blob(file, sha256)
        assert adopted == store.blob(sha256)
        assert adopted.read_bytes() == content
    assert not file.exists()


def test_a_record_is_replaced_in_one_step(store: Store) -> None:
    assert store.record("kind", "key") is None
    store.write_record("kind", "key", "one")
    path = store.write_record("kind", "key", "two")
    assert store.record("kind", "key") == path
    assert path.read_text() == "two"
    assert not scratches(store)


# scratch directories


def test_a_scratch_directory_goes_with_its_block(store: Store) -> None:
    with pytest.raises(RuntimeError), store.scratch() as directory:
        (directory / "file").write_text("x")
        raise RuntimeError
    assert not scratches(store)


def test_what_the_dead_left_is_swept_and_what_is_in_use_is_not(store: Store) -> None:
    with store.scratch() as living:
        empty = store.root / "tmp" / "work-empty"
        full = store.root / "tmp" / "work-full"
        empty.mkdir()
        (full / "below").mkdir(parents=True)
        (full / "below" / "file").write_text("x")
        with store.scratch() as other:
            # One of them is empty, as any is in its first moments.
            assert scratches(store) == {living.name, other.name}
    assert not scratches(store)


def _make_scratches(root: Path, times: int) -> None:
    for _ in range(times):
        with Store(root).scratch() as directory:
            (directory / "file").write_text("x")
            assert (directory / "file").read_text() == "x"


@pytest.mark.starts
def test_nobody_sweeps_a_directory_that_is_just_being_made(store: Store) -> None:
    processes = [SPAWN.Process(target=_make_scratches, args=(store.root, 80)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert not scratches(store)


# two processes


def _make_once(root: Path, said: Connection, tell: bool) -> None:
    """Make a blob that takes some time, unless it is there, as every stage does."""
    store = Store(root)
    with store.lock("the-blob"):
        if store.blob(SHA) is not None:
            said.send("found")
            return
        with store.scratch() as directory:
            path = directory / "content"
            path.write_bytes(b"cont")
            if tell:
                said.send("half")
                time.sleep(SECONDS)
            with path.open("ab") as file:
                file.write(b"ent")
            store.adopt_blob(path, SHA)
    said.send("made")


class Other:
    """Another process of the same user, at the same store."""

    def __init__(self, root: Path, *, stops_half_way: bool = False) -> None:
        self.heard, said = SPAWN.Pipe(duplex=False)
        self.process: SpawnProcess = SPAWN.Process(
            target=_make_once, args=(root, said, stops_half_way)
        )
        self.process.start()
        said.close()

    def hear(self) -> str:
        assert self.heard.poll(SECONDS), "the other process says nothing"
        return str(self.heard.recv())

    def end(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join(SECONDS)
        self.process.close()
        self.heard.close()


@pytest.fixture
def others(store: Store) -> Iterator[list[Other]]:
    started: list[Other] = []
    yield started
    for other in started:
        other.end()


@pytest.mark.starts
def test_two_who_want_the_same_make_it_once(store: Store, others: list[Other]) -> None:
    others += [Other(store.root), Other(store.root)]
    assert sorted(other.hear() for other in others) == ["found", "made"]


@pytest.mark.starts
def test_who_is_killed_half_way_leaves_nothing_and_the_next_one_makes_it(
    store: Store, others: list[Other]
) -> None:
    first = Other(store.root, stops_half_way=True)
    others.append(first)
    assert first.hear() == "half"
    second = Other(store.root)
    others.append(second)
    assert not second.heard.poll(0.2), "it did not wait for the first"
    assert store.blob(SHA) is None
    first.process.kill()
    assert second.hear() == "made"
    path = store.blob(SHA)
    assert path is not None
    assert path.read_bytes() == b"content"
    second.process.join(SECONDS)
    with store.scratch() as mine:
        assert scratches(store) == {mine.name}


# disks and permissions


def test_a_store_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    store = Store(tmp_path / "file")
    for use in (lambda: store.partial(SHA), lambda: store.write_record("kind", "key", "x")):
        with pytest.raises(StorageError, match="cannot write here") as caught:
            use()
        assert str(tmp_path / "file") in str(caught.value.where)
        assert caught.value.hint == "set MLRUNTIME_STORE"
    with pytest.raises(StorageError, match="cannot write here"), store.lock("name"):
        pass


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.ENOSPC, "no space left on the disk"),
        (errno.EDQUOT, "no space left on the disk"),
        (errno.EACCES, "cannot write here"),
        (errno.EROFS, "cannot write here"),
    ],
)
def test_a_full_or_forbidden_disk_is_one_of_our_errors(number: int, what: str) -> None:
    with pytest.raises(StorageError, match=what) as caught, storage_errors(Path("/some/where")):
        raise OSError(number, os.strerror(number))
    assert caught.value.where == "/some/where"


def test_other_failures_stay_what_they_are() -> None:
    with pytest.raises(FileNotFoundError), storage_errors(Path("/some/where")):
        raise FileNotFoundError(errno.ENOENT, "no such file")
