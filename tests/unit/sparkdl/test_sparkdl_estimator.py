"""What ranks agree on and what a model's answers mean: without Keras, Spark or numpy."""

import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

import cloudpickle
import pytest

from tests.unit.sparkdl_library import LIBRARY, load


@pytest.fixture
def collective(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    keras = types.ModuleType("keras")
    keras.callbacks = types.SimpleNamespace(Callback=object)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keras", keras)
    for name in ("_base", "_collective"):
        monkeypatch.delitem(sys.modules, f"sparkdl.horovod.tensorflow.{name}", raising=False)
    yield load("horovod.tensorflow._collective")
    for name in ("_base", "_collective"):
        sys.modules.pop(f"sparkdl.horovod.tensorflow.{name}", None)


def test_metrics_are_averaged_by_the_rows_they_are_of(collective: Any) -> None:
    first = {"loss": 1.0, "val_loss": 10.0, "f1": [0.0, 1.0]}
    second = {"loss": 4.0, "val_loss": 20.0, "f1": [3.0, 1.0]}
    found = collective.averaged([(first, 20.0, 1.0), (second, 10.0, 3.0)])
    assert found == {"loss": 2.0, "val_loss": 17.5, "f1": [1.0, 1.0]}


def test_ranks_that_do_not_count_rows_weigh_the_same(collective: Any) -> None:
    assert collective.averaged([({"a": 1.0}, None, None), ({"a": 4.0}, 9.0, None)]) == {"a": 2.5}


def test_a_metric_of_one_rank_and_one_of_many_shapes_stay(collective: Any) -> None:
    accounts = [({"a": [1.0]}, 1.0, None), ({"a": [1.0, 2.0], "mine": 3.0}, 1.0, None)]
    assert collective.averaged(accounts) == {"a": [1.0], "mine": 3.0}


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), ([1, [2]], [1.0, [2.0]]), ("x", None), ([1, "x"], None), (None, None)],
)
def test_what_is_no_number_is_left_out(collective: Any, value: Any, number: Any) -> None:
    assert collective.numbers(value) == number


def by_path(path: str) -> Any:
    """Import a module by its file: its package wants Spark."""
    spec = importlib.util.spec_from_file_location("scores", LIBRARY / "sparkdl" / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scores"] = module
    spec.loader.exec_module(module)
    return module


class Loss:
    def __init__(self, **config: Any) -> None:
        self.config = config

    def get_config(self) -> dict[str, Any]:
        return self.config


class SparseCategoricalCrossentropy(Loss):
    pass


class BinaryCrossentropy(Loss):
    pass


@pytest.mark.parametrize(
    ("width", "loss", "classes", "logits"),
    [
        (3, "sparse_categorical_crossentropy", 3, False),
        (3, {"out": ["categorical_crossentropy"]}, 3, False),
        (3, SparseCategoricalCrossentropy(from_logits=True), 3, True),
        (None, BinaryCrossentropy(from_logits=False), 2, False),
        (None, "binary_crossentropy", 2, False),
        # Several yes or no questions, vectors and numbers are no classes.
        (3, "binary_crossentropy", 0, False),
        (3, "mse", 0, False),
        (None, "mse", 0, False),
        (3, ["mse", "mae"], 0, False),
        (3, None, 0, False),
    ],
)
def test_the_loss_tells_what_a_models_answers_are(
    width: int | None, loss: Any, classes: int, logits: bool
) -> None:
    scores = by_path("estimator/_scores.py").Scores.of(width, loss)
    assert (scores.width, scores.classes, scores.logits) == (width, classes, logits)


@pytest.mark.parametrize(
    ("addresses", "loaded", "seen"),
    [(["3"], False, "3"), (["3"], True, None), (None, False, None)],
)
def test_a_worker_that_predicts_takes_its_tasks_gpu_and_no_more_memory_than_it_needs(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str] | None, loaded: bool, seen: str | None
) -> None:
    """What TensorFlow has seen already cannot be taken back: then its first task's GPU stays."""
    package = types.ModuleType("sparkdl.estimator")  # its own imports Spark
    package.__path__ = [str(LIBRARY / "sparkdl" / "estimator")]
    monkeypatch.setitem(sys.modules, "sparkdl.estimator", package)
    for name in ("_scores", "_predict"):
        monkeypatch.delitem(sys.modules, f"sparkdl.estimator.{name}", raising=False)
    given = {} if addresses is None else {"gpu": types.SimpleNamespace(addresses=addresses)}
    task = types.SimpleNamespace(resources=lambda: given)
    pyspark = types.ModuleType("pyspark")
    pyspark.TaskContext = types.SimpleNamespace(get=lambda: task)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyspark", pyspark)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    if loaded:
        monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))
    for name in ("CUDA_VISIBLE_DEVICES", "TF_FORCE_GPU_ALLOW_GROWTH"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)
    load("estimator._predict")._take_gpu()
    for name in ("_scores", "_predict"):
        sys.modules.pop(f"sparkdl.estimator.{name}", None)
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == seen


class Packed:
    """A model whose only layer is a function of the user's own."""

    def model(self, objects: dict[str, Any], *, compiled: bool) -> Any:
        assert not compiled
        return objects["scale"]


def test_another_function_of_the_same_name_is_another_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = types.ModuleType("sparkdl.estimator")  # its own imports Spark
    package.__path__ = [str(LIBRARY / "sparkdl" / "estimator")]
    monkeypatch.setitem(sys.modules, "sparkdl.estimator", package)
    for name in ("_scores", "_predict"):
        monkeypatch.delitem(sys.modules, f"sparkdl.estimator.{name}", raising=False)
    predict = load("estimator._predict")
    for name in ("_limit_threads", "_take_gpu"):
        monkeypatch.setattr(predict, name, lambda: None)

    def sent(scale: Any) -> Any:
        objects = cloudpickle.dumps({"scale": scale})
        return types.SimpleNamespace(value=("the same weights", Packed(), objects))

    twice, thrice = (sent(lambda x, factor=factor: factor * x) for factor in (2, 3))
    models = [predict._model(one) for one in (twice, thrice, twice, thrice)]
    for name in ("_scores", "_predict"):
        sys.modules.pop(f"sparkdl.estimator.{name}", None)
    assert [model(1) for model in models] == [2, 3, 2, 3]
    assert models[0] is models[2] and models[1] is models[3]
