"""Training on a cluster equals training here, with each runtime's own Keras."""

from collections.abc import Iterator
from typing import Any

import pytest
from mlruntime.cluster.containers import ContainerCluster
from mlruntime.engine import Engine

from tests.cluster import test_training_data as of_one_line
from tests.cluster.training import answer, training_cluster
from tests.conftest import Runtime

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def running(engine: Engine, line: Runtime) -> Iterator[ContainerCluster]:
    with training_cluster(engine, line) as up:
        yield up


def test_training_on_ranks_equals_training_on_the_whole_batch(
    running: ContainerCluster, line: Runtime
) -> None:
    found = answer(running, "equivalence.py")
    assert found["keras"] == dict(line.lock.components)["keras"]
    assert found["cases"].keys() == {"sgd", "momentum", "adam", "loop"}
    for case, distances in found["cases"].items():
        assert distances["between ranks"] == 0, case
        assert distances["from the whole batch"] < 1e-5, (case, distances)
        # The comparison can tell: half the batch, or no training, ends elsewhere.
        assert distances["from half the batch"] > 1e-3, (case, distances)
        assert distances["from the start"] > 1e-2, (case, distances)


def test_an_estimator_tells_classes_apart(running: ContainerCluster) -> None:
    told = answer(running, "stages.py", "classification", "logits")
    found = told["classification"]
    vectors = {"probability": "vector", "rawPrediction": "vector"}
    assert found["types"] == {"class": "double", **vectors}
    assert found["calls"] == 1
    assert found["right"] > 0.9
    assert found["sum"] < 1e-5
    assert found["metrics"] == ["accuracy", "loss", "val_accuracy", "val_loss"]

    two_classes_are_told_apart(told["logits"])


@pytest.mark.extra
def test_spark_s_cross_validator_chooses_among_estimators(running: ContainerCluster) -> None:
    """In a pipeline, as docs/horovodrunner.md says."""
    found = answer(running, "stages.py", "choosing")["choosing"]
    assert found["areas"] == [0.0, 1.0]
    assert (found["epochs"], found["area"]) == (40, 1.0)


def test_callbacks_act_alike_on_all_ranks(running: ContainerCluster) -> None:
    told = answer(running, "together.py")
    found = told["together"]
    # 160 rows or so, in steps of 16: the optimizer has counted every step of every epoch.
    assert 1 < found["epochs"] < 80
    assert found["steps"] % found["epochs"] == 0 and 8 <= found["steps"] / found["epochs"] <= 11
    assert found["learning rate"] < 0.05
    assert found["vector"] == [2, 2]
    assert found["of one rank"] == [3.0, 3.0]
    assert found["broken"] == 1
    assert found["by strings"] == ["loss"]
    # Of 5 epochs of 4 steps the fourth ended before it was backed up: two are left.
    assert told["resumed"] == {
        "first": {"weights": 1, "ranks": [[None, 16]] * 2},
        "again": {"weights": 1, "ranks": [[2, 20]] * 2},
        "files": ["backup0", "best0.keras"],
    }


@pytest.mark.extra
def test_data_are_refused_and_kept_alike_on_every_line(running: ContainerCluster) -> None:
    """What ``test_training_data`` finds on one runtime, with each one's Spark and pandas."""
    rows = answer(running, "rows.py", "refusals", "narrowing", "advice")
    of_one_line.test_unsuitable_data_are_told(rows)
    of_one_line.test_numbers_that_float32_cannot_tell_apart_are_told(rows)
    of_one_line.test_what_the_error_advises_gives_the_right_numbers(rows)


def two_classes_are_told_apart(found: dict[str, Any]) -> None:
    assert found["classes"] == 2 and found["class"]
    assert found["area"] > 0.95
    assert abs(found["margin"]) < 1e-6 and abs(found["probability"]) < 1e-6
    assert found["nan"] == [True, False]
    assert "column 'features' has nulls: there is no prediction for them" in found["null"]
    assert found["not shared"].startswith("file:///tmp/not-shared is not shared: an executor")


def test_an_estimator_takes_models_of_keras_2(running: ContainerCluster, line: Runtime) -> None:
    found = answer(running, "legacy.py")
    assert found["version"].startswith("2.")
    keras_3 = dict(line.lock.components)["keras"].startswith("3.")
    assert found["package"] == ("tf_keras" if keras_3 else "keras")
    assert found["off"] < 0.05
