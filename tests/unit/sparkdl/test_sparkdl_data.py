"""Who gets which rows: the arithmetic of ``sparkdl.data``, without Spark or numpy."""

import importlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

LIBRARY = Path(__file__).parents[3] / "images" / "sparkdl"


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(LIBRARY))


def load(name: str) -> Any:
    return importlib.import_module(f"sparkdl.data.{name}")


counts = st.lists(st.integers(0, 40), min_size=1, max_size=12)
sizes = st.integers(1, 7)
batches = st.integers(1, 9)


def shares(rows: int, size: int, batch: int, last: str) -> list[Any]:
    return [load("_even").share(rows, rank, size, batch, last) for rank in range(size)]


def rows_of(chunk_rows: list[int], chunks: list[int], share: Any) -> list[tuple[int, int]]:
    return [
        (piece.chunk, row)
        for piece in load("_even").pieces(chunk_rows, chunks, share)
        for row in range(piece.first, piece.last)
    ]


def all_rows(chunk_rows: list[int]) -> Counter[tuple[int, int]]:
    return Counter((chunk, row) for chunk, rows in enumerate(chunk_rows) for row in range(rows))


@given(counts, sizes, batches, st.integers(0, 3))
def test_drop_gives_a_row_to_one_rank_at_most(
    chunk_rows: list[int], size: int, batch: int, epoch: int
) -> None:
    rows = sum(chunk_rows)
    assume(rows >= size * batch)
    chunks = load("_even").order(len(chunk_rows), 5, epoch)
    parts = shares(rows, size, batch, "drop")
    seen = Counter(row for part in parts for row in rows_of(chunk_rows, chunks, part))
    assert max(seen.values()) == 1
    assert 0 <= rows - seen.total() < size * batch
    assert seen <= all_rows(chunk_rows)
    assert {part.steps for part in parts} == {rows // (size * batch)}
    assert all(list(part.batch_sizes()) == [batch] * part.steps for part in parts)


@given(counts, sizes, batches, st.integers(0, 3))
def test_wrap_gives_every_row_and_fills_the_last_step_from_the_beginning(
    chunk_rows: list[int], size: int, batch: int, epoch: int
) -> None:
    rows = sum(chunk_rows)
    assume(rows)
    chunks = load("_even").order(len(chunk_rows), 5, epoch)
    parts = shares(rows, size, batch, "wrap")
    line = [row for part in parts for row in rows_of(chunk_rows, chunks, part)]
    assert Counter(line[:rows]) == all_rows(chunk_rows)
    assert line[rows:] == [line[i % rows] for i in range(len(line) - rows)]
    assert 0 <= len(line) - rows < size * batch
    assert {part.steps for part in parts} == {-(-rows // (size * batch))}
    assert all(list(part.batch_sizes()) == [batch] * part.steps for part in parts)


@given(counts, sizes, st.integers(2, 9))
def test_keep_gives_every_row_once_in_equally_many_batches(
    chunk_rows: list[int], size: int, batch: int
) -> None:
    rows = sum(chunk_rows)
    assume(rows >= size)
    parts = shares(rows, size, batch, "keep")
    chunks = list(range(len(chunk_rows)))
    seen = Counter(row for part in parts for row in rows_of(chunk_rows, chunks, part))
    assert seen == all_rows(chunk_rows)
    assert len({part.steps for part in parts}) == 1
    for part in parts:
        made = list(part.batch_sizes())
        assert sum(made) == part.rows
        assert 1 <= min(made) <= max(made) <= batch
        assert max(made) - min(made) <= 1


@given(counts, sizes, batches, st.sampled_from(["drop", "wrap", "keep"]))
def test_either_every_rank_has_the_same_steps_or_every_rank_is_told(
    chunk_rows: list[int], size: int, batch: int, last: str
) -> None:
    outcomes = set()
    for rank in range(size):
        try:
            outcomes.add(load("_even").share(sum(chunk_rows), rank, size, batch, last).steps)
        except load("_errors").DataError:
            outcomes.add(None)
    assert len(outcomes) == 1


def test_pieces_are_read_in_order_and_cut_at_the_borders() -> None:
    even = load("_even")
    part = even.Share(start=3, stop=9, steps=3)
    found = list(even.pieces([2, 0, 5, 4], [2, 1, 0, 3], part))
    assert found == [
        even.Piece(chunk=2, first=3, last=5),
        even.Piece(chunk=0, first=0, last=2),
        even.Piece(chunk=3, first=0, last=2),
    ]


@given(st.integers(0, 30), st.integers(-(2**70), 2**70), st.integers(0, 99))
def test_an_order_is_one_of_all_chunks_and_always_the_same(n: int, seed: int, epoch: int) -> None:
    order = load("_even").order
    assert sorted(order(n, seed, epoch)) == list(range(n))
    assert order(n, seed, epoch) == order(n, seed, epoch)


def test_the_order_follows_seed_and_epoch() -> None:
    order = load("_even").order
    orders = {tuple(order(20, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    # Pinned: ranks of different Python versions must agree on it.
    assert order(8, 1, 2) == [7, 0, 5, 1, 4, 6, 2, 3]


@pytest.mark.parametrize(
    ("rows", "size", "batch", "last", "says"),
    [
        (5, 2, 3, "drop", "5 rows do not fill one step of 2 ranks with 3 rows each"),
        (0, 2, 3, "drop", "no rows"),
        (0, 2, 3, "wrap", "no rows"),
        (2, 3, 4, "keep", "cannot give each of 3 ranks 1 batches"),
        (3, 2, 1, "keep", "cannot give each of 2 ranks 2 batches"),
    ],
)
def test_too_few_rows_are_told(rows: int, size: int, batch: int, last: str, says: str) -> None:
    with pytest.raises(load("_errors").DataError, match=says):
        load("_even").share(rows, 0, size, batch, last)


@pytest.mark.parametrize(
    ("rank", "size", "batch", "last", "says"),
    [
        (2, 2, 1, "drop", "rank 2 does not exist"),
        (0, 1, 0, "drop", "batch_size is at least 1"),
        (0, 1, 1, "pad", "'drop', 'wrap', 'keep', not 'pad'"),
    ],
)
def test_senseless_arguments_are_refused(
    rank: int, size: int, batch: int, last: str, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        load("_even").share(9, rank, size, batch, last)


# files


@given(
    st.dictionaries(st.text("abc/", min_size=1, max_size=6), st.integers(0, 100), max_size=20),
    st.integers(1, 6),
)
def test_files_are_shared_out_evenly(weights: dict[str, int], size: int) -> None:
    assume(len(weights) >= size)
    shares = load("_files").balanced(weights, size)
    assert sorted(name for share in shares for name in share) == sorted(weights)
    assert all(shares)
    loads = [sum(weights[name] for name in share) for share in shares]
    # The list with the most bytes was the lightest when it took its last, smallest file; only
    # a list's first file may go past a lighter one.
    for share, load_ in zip(shares, loads, strict=True):
        if len(share) > 1:
            assert load_ - min(weights[name] for name in share) <= min(loads)
    assert shares == load("_files").balanced(dict(reversed(weights.items())), size)


def test_ranks_get_their_own_files_of_a_directory(tmp_path: Path) -> None:
    for name, size in {"a": 10, "b": 60, "c": 50, "_SUCCESS": 0, ".crc": 1}.items():
        (tmp_path / name).write_bytes(bytes(size))
    shard_files = load("_files").shard_files
    assert shard_files(tmp_path, 0, 2) == [str(tmp_path / "b")]
    assert shard_files(tmp_path, 1, 2) == [str(tmp_path / "a"), str(tmp_path / "c")]
    assert shard_files(str(tmp_path / "[ab]"), 1, 2) == [str(tmp_path / "a")]
    assert shard_files(["s3://x/1", "s3://x/2"], 1, 2, sizes={"s3://x/1": 5, "s3://x/2": 9}) == [
        "s3://x/1"
    ]


def test_files_that_will_not_do_are_told(tmp_path: Path) -> None:
    shard_files, error = load("_files").shard_files, load("_errors").DataError
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(error, match="1 files cannot be shared out to 2 ranks"):
        shard_files(tmp_path, 0, 2)
    with pytest.raises(error, match="no file matches"):
        shard_files(str(tmp_path / "*.x"), 0, 1)
    with pytest.raises(error, match=r"b cannot be read on this machine \(No such file"):
        shard_files([tmp_path / "a", tmp_path / "b"], 0, 2)
    with pytest.raises(error, match="more than once"):
        shard_files([tmp_path / "a", tmp_path / "a"], 0, 2)
    with pytest.raises(ValueError, match="rank 3"):
        shard_files(tmp_path, 3, 2)


# types that hold fewer numbers than Spark's


def column(**more: Any) -> Any:
    return load("_columns").Column(
        **{"name": "t", "dtype": "float32", "narrowed": "float32"} | more
    )


def judged(reports: list[list[float]], **more: Any) -> None:
    load("_narrow").judged([column(**more)], reports, "keep them")


@pytest.mark.parametrize(
    ("source", "target", "loses"),
    [
        ("float64", "float32", True),
        ("int64", "float32", True),
        ("int32", "float32", True),
        ("int64", "float64", True),
        ("int64", "int32", True),
        ("float32", "int64", True),
        ("int32", "float64", False),
        ("int16", "float32", False),
        ("bool", "float32", False),
        ("float32", "float64", False),
        ("int64", "int64", False),
    ],
)
def test_types_that_hold_fewer_numbers_are_known(source: str, target: str, loses: bool) -> None:
    assert load("_columns").narrows(source, target) is loses


@pytest.mark.filterwarnings("error")
def test_ranges_of_all_files_are_judged_together() -> None:
    error = load("_errors").DataError
    # Each file alone would do: its numbers are all the same.
    with pytest.raises(error, match=r"^column 't' has numbers from 1700000000 to 1700000100,"):
        judged([[1.7e9, 1.7e9, 0.0], [1.7e9 + 100, 1.7e9 + 100, 28.0]])
    # Each file alone would not, but together they are far apart.
    judged([[0.0, 1e-7, 1e-9], [1e3, 1e3, 3e-5]])
    judged([])


@pytest.mark.filterwarnings("error")
def test_a_position_is_judged_by_itself() -> None:
    fine, blurred = [0.0, 1.0, 3e-8], [1e9, 1e9 + 1, 32.0]
    with pytest.raises(load("_errors").DataError, match="column 't', position 1, has numbers from"):
        judged([[*fine, *blurred]], shape=(2,))
    judged([[*fine, *fine]], shape=(2,))


def test_whole_numbers_that_become_one_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="by up to 2: neighbouring whole numbers become one"):
        judged([[0.0, 5e7, 2.0]])


def test_what_is_no_spark_frame_is_told() -> None:
    with pytest.raises(load("_errors").DataError, match=r"needed, not builtins\.list: make one"):
        load("_columns").require_spark([1])
