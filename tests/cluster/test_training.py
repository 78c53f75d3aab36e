"""Training on a cluster equals training here, with each runtime's own Keras."""

from collections.abc import Iterator

import pytest
from mlruntime.cluster.containers import Cluster
from mlruntime.engine import Engine

from tests.cluster.training import answer, training_cluster
from tests.conftest import Runtime

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def running(engine: Engine, line: Runtime) -> Iterator[Cluster]:
    with training_cluster(engine, line) as up:
        yield up


def test_training_on_ranks_equals_training_on_the_whole_batch(
    running: Cluster, line: Runtime
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


def test_an_estimator_with_several_inputs_weights_and_a_vector_of_scores(running: Cluster) -> None:
    found = answer(running, "stages.py", "classification")["classification"]
    assert found["type"] == "array<float>"
    assert found["right"] > 0.9
    assert found["sum"] < 1e-5
    assert found["metrics"] == ["accuracy", "loss", "val_accuracy", "val_loss"]


def test_an_estimator_takes_models_of_keras_2(running: Cluster, line: Runtime) -> None:
    found = answer(running, "legacy.py")
    assert found["version"].startswith("2.")
    keras_3 = dict(line.lock.components)["keras"].startswith("3.")
    assert found["package"] == ("tf_keras" if keras_3 else "keras")
    assert found["off"] < 0.05
