"""Where the next run is wanted: what the driver remembers of executors, and what follows."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.sparkdl_library import load

warmth = load("_warmth")

IDS = st.sampled_from(["0", "1", "2", "3"])
RUNS = st.lists(st.tuples(st.lists(IDS, min_size=1, max_size=6), st.floats(0, 100)), max_size=6)


def ranks(*ids: str) -> list[tuple[str, str]]:
    return [(one, f"host-{one}") for one in ids]


@given(runs=RUNS, gone=st.sets(IDS), now=st.floats(0, 100), np=st.integers(1, 12))
def test_ranks_are_wanted_where_something_waits_and_only_if_all_fit(
    runs: list[tuple[list[str], float]], gone: set[str], now: float, np: int
) -> None:
    places = warmth.Places()
    for ids, until in runs:
        places.note("app", ranks(*ids), until)
    places.forget("app", sorted(gone))
    room: dict[str, int] = {}
    for one in "0123":
        held = [(ids.count(one), until) for ids, until in runs if one in ids]
        if held and one not in gone and held[-1][1] > now:
            room[one] = max(count for count, _ in held)
    found = places.warm("app", now)
    assert {one: place.ranks for one, place in found.items()} == room
    locations = warmth.fitting(found, np)
    fits = sum(room.values()) >= np
    assert set(locations) == ({f"executor_host-{one}_{one}" for one in room} if fits else set())


def test_applications_do_not_share_executors() -> None:
    places = warmth.Places()
    places.note("one", ranks("0", "0"), 10)
    places.note("other", ranks("0", "1"), 10)
    places.forget("other", ["0"])
    assert places.warm("one", 5)["0"].ranks == 2
    assert places.warm("other", 5).keys() == {"1"}


def test_tasks_without_an_executor_are_no_place() -> None:
    places = warmth.Places()
    places.note("app", [("", "localhost")] * 3, 10)
    assert places.warm("app", 0) == {}
    assert warmth.fitting({}, 1) == []


def test_what_was_to_wait_no_longer_is_forgotten_for_good() -> None:
    places = warmth.Places()
    places.note("app", ranks("0"), 10)
    assert places.warm("app", 10) == {}
    assert places.warm("app", 5) == {}


@pytest.mark.starts
def test_an_executor_is_known_by_its_command_line() -> None:
    sleeping = "import sys; print(flush=True); sys.stdin.read()"
    words = ["--driver-url", "spark://x", "--executor-id", "17", "--cores", "1"]
    child = subprocess.Popen(
        [sys.executable, "-c", sleeping, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()  # it has become what its command line says
        assert warmth.executor_of(child.pid) == "17"
    finally:
        child.communicate()
    assert warmth.executor_of(os.getpid()) == ""
    assert warmth.executor_of(0) == ""
