"""Whether ranks that have trained apart are found, from hashes of their weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sparkdl_library import load

errors = load("_errors")
weights = load("_weights")


class Array:
    """What numpy would give, as far as it is looked at."""

    def __init__(self, *values: int, dtype: str = "uint8") -> None:
        self.dtype, self.shape, self._bytes = dtype, (len(values),), bytes(values)

    def tobytes(self) -> bytes:
        return self._bytes


class Variable:
    def __init__(self, name: str, array: Array) -> None:
        self.name, self._array = name, array

    def numpy(self) -> Array:
        return self._array


class Model:
    def __init__(self, kernel: Array, mean: Array | None = None) -> None:
        self.trainable_weights = [Variable("dense/kernel", kernel)]
        self.non_trainable_weights = [] if mean is None else [Variable("norm/mean", mean)]


def add(comparison: Any, *models: Model) -> list[str | None]:
    return [comparison.add(rank, weights.described(one)) for rank, one in enumerate(models)]


def test_equal_weights_pass_and_leave_nothing_to_say() -> None:
    comparison = weights.Comparison(3)
    assert add(comparison, *[Model(Array(1, 2)) for _ in range(3)]) == [None] * 3
    assert comparison.left() is None


@pytest.mark.parametrize(
    "other", [Array(1, 3), Array(2, 1), Array(1, 2, 0), Array(1, 2, dtype="int8")]
)
def test_one_bit_is_enough_to_be_different(other: Array) -> None:
    with pytest.raises(errors.RankFailed) as found:
        add(weights.Comparison(2), Model(Array(1, 2)), Model(other))
    assert found.value.rank == 1
    assert not isinstance(found.value, errors.RankLost)
    assert (
        "at check number 1, rank 1 differs from rank 0 in 1 of 1 trained weights (dense/kernel)"
        in (str(found.value))
    )


def test_weights_that_are_not_trained_may_differ() -> None:
    comparison = weights.Comparison(2)
    *_, remark = add(comparison, Model(Array(1), Array(1)), Model(Array(1), Array(2)))
    assert "rank 1 differs from rank 0 in 1 that are not trained (norm/mean)" in str(remark)


def test_ranks_with_different_models_are_told() -> None:
    with pytest.raises(errors.RankFailed, match="has 2 weights and rank 0's has 1"):
        add(weights.Comparison(2), Model(Array(1)), Model(Array(1), Array(2)))


def test_reports_are_compared_in_the_order_of_each_rank() -> None:
    comparison = weights.Comparison(2)
    one, two = Model(Array(1)), Model(Array(2))
    for model in (one, two):
        comparison.add(0, weights.described(model))
    assert comparison.add(1, weights.described(one)) is None
    assert "2, 1 times" in comparison.left()
    with pytest.raises(errors.RankFailed, match="check number 2"):
        comparison.add(1, weights.described(one))


def test_a_check_that_never_was_is_told() -> None:
    assert "has called no fit" in weights.Comparison(2).left()


FIT = """
class Model:
    def __init__(self, values):
        self.values = values
        self.trainable_weights, self.non_trainable_weights = [self], []
    path = "dense/kernel"
    dtype, shape = "uint8", (2,)
    def numpy(self):
        return self
    def tobytes(self):
        return bytes(self.values)
    def fit(self, add):
        self.values = [one + add for one in self.values]
        return "history"
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keras.py").write_text(FIT)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(apart: int, **options: Any) -> Any:
        def main() -> Any:
            import os

            import keras  # type: ignore[import-not-found]

            return keras.Model([1, 2]).fit(apart * int(os.environ["HOROVOD_RANK"]))

        return load().HorovodRunner(np=-2).options(log_directory="logs", **options).run(main)

    return run


@pytest.mark.starts
def test_ranks_that_train_apart_are_found_after_fit(run: Callable[..., Any]) -> None:
    assert run(1) == "history"  # nobody has asked
    assert run(0, check_weights=True) == "history"
    with pytest.raises(errors.RankFailed, match=r"rank 1 differs .* \(dense/kernel\)"):
        run(1, check_weights=True, max_restarts=1)


@pytest.mark.starts
def test_a_check_without_a_fit_is_told(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    runner = load().HorovodRunner(np=-2).options(log_directory="logs", check_weights=True)
    runner.run(json.dumps, obj=1)
    assert "HorovodRunner: WARNING: check_weights=True, but main has called no fit" in (
        capsys.readouterr().out
    )
