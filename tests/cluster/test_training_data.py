"""``sparkdl.data`` and ``sparkdl.estimator`` on a cluster, and the documentation's programs."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from mlruntime.cluster.containers import Cluster
from mlruntime.engine import Engine

from tests.cluster.training import answer, training_cluster
from tests.conftest import Runtime
from tests.horovodrunner_page import outputs

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def running(engine: Engine, runtime: Runtime) -> Iterator[Cluster]:
    with training_cluster(engine, runtime) as up:
        yield up


@pytest.fixture(scope="module")
def rows(running: Cluster) -> dict[str, Any]:
    return answer(running, "rows.py")


@pytest.mark.parametrize("frame", ["even", "uneven", "one partition"])
def test_ranks_get_every_row_as_often_as_the_policy_says(rows: dict[str, Any], frame: str) -> None:
    found = rows["properties"][frame]
    drop, wrap, keep = found["drop"], found["wrap"], found["keep"]
    assert (drop["rows"], drop["different"], drop["most often"]) == ([960] * 2, [960] * 2, [1] * 2)
    assert (wrap["rows"], wrap["different"], wrap["most often"]) == (
        [1024] * 2,
        [1000] * 2,
        [2] * 2,
    )
    assert (keep["rows"], keep["different"], keep["most often"]) == (
        [1000] * 2,
        [1000] * 2,
        [1] * 2,
    )
    assert [one["steps"] for one in (drop, wrap, keep)] == [[[15]] * 2, [[16]] * 2, [[16]] * 2]


@pytest.mark.parametrize("frame", ["even", "uneven", "one partition"])
def test_shuffles_differ_by_epoch_and_agree_by_seed(rows: dict[str, Any], frame: str) -> None:
    found = rows["properties"][frame]
    for last in ("drop", "wrap", "keep"):
        assert found[last]["epochs differ"]
        assert found[last]["ranks are dealt new rows"]
        # Of some 930 neighbours within batches about half ascend; in the original order all do.
        assert all(350 < ascending < 580 for ascending in found[last]["in order"])
    assert found["the same here"]
    assert found["another seed differs"]


def test_files_are_per_partition_and_go_away(rows: dict[str, Any]) -> None:
    properties = rows["properties"]
    assert {name: one["files"] for name, one in properties.items()} == {
        "even": 4,
        "uneven": 3,
        "one partition": 1,
    }
    assert not any(one["left behind"] for one in properties.values())


def test_more_data_than_memory(rows: dict[str, Any]) -> None:
    found = rows["memory"]
    assert found["read"] == 320 * 65536 * 4
    assert found["grown"] < found["read"] / 3, found


def test_unsuitable_data_are_told(rows: dict[str, Any]) -> None:
    said = rows["refusals"]
    assert said.pop("left behind") == []
    begins = {
        "text": "column 'c' is string: only numbers, arrays of numbers and ML vectors",
        "ragged": "column 'c' has arrays of different lengths (2 and 1 numbers)",
        "ragged across partitions": "column 'c' has arrays of different lengths",
        "null": "column 'c' has nulls",
        "null inside": "column 'c' has nulls",
        "missing": "the DataFrame has no column 'd'",
        "not shared": "/tmp is not shared: ",
        "no such directory": "/nowhere/at/all",
    }
    assert said.keys() == begins.keys()
    for name, text in begins.items():
        assert said[name].startswith(text), said[name]


@pytest.fixture(scope="module")
def stages(running: Cluster) -> dict[str, Any]:
    return answer(running, "stages.py", "regression", "restart", "refusals")


def test_an_estimator_trains_predicts_saves_and_loads_in_a_pipeline(stages: dict[str, Any]) -> None:
    found = stages["regression"]
    assert found["type"] == "double"
    assert found["from the label"] < 0.05
    assert found["from the model's own"] < 1e-5
    assert found["history"].keys() == {"loss", "mae", "val_loss", "val_mae"}
    assert all(len(values) == 15 for values in found["history"].values())
    assert found["history"]["val_loss"][-1] < 1e-3 < found["history"]["val_loss"][0]
    assert found["loaded differs"] == 0
    assert found["loaded history"]
    assert found["loaded"] == "sparkdl.estimator.KerasModel"
    assert found["again"] == [15, 2, True]
    assert found["again trains"] == ["loss", "mae", "val_loss", "val_mae"]
    assert found["for Keras alone"]


def test_a_worker_loads_the_model_once(stages: dict[str, Any]) -> None:
    held = stages["regression"]["held"]
    # Two executors with a slot each; a process number and one model's address.
    assert len(held) == 2 and all(re.fullmatch(r"\d+ \[\d+\]", one) for one in held), held
    assert stages["regression"]["held on"] == held


def test_an_estimator_goes_on_when_a_rank_was_killed(stages: dict[str, Any]) -> None:
    found = stages["restart"]
    assert found["killed"]
    # It began again after the last epoch that had been saved, and not at the first.
    assert found["epochs"][0] == 5 and found["epochs"][1] in (2, 3), found
    assert found["differ by"] == 0


def test_an_estimator_says_what_is_missing(stages: dict[str, Any]) -> None:
    said = stages["refusals"]
    assert said.pop("left behind") == []
    begins = {
        "not compiled": "ValueError: the model is not compiled",
        "not built": "ValueError: the model has no weights yet",
        "no model": "ValueError: KerasEstimator has no model",
        "no Keras": 'TypeError: Invalid param value given for param "model". model must be a comp',
        "column": "DataError: the DataFrame has no column 'lable': did you mean 'label'?",
        "few rows": "DataError: 10 rows do not fill one step of 2 ranks with 8 rows each",
        "zero": "ValueError: np must not be 0",
    }
    assert said.keys() == begins.keys()
    for name, text in begins.items():
        assert said[name].startswith(text), said[name]


def test_the_documentation_prints_what_it_says(running: Cluster) -> None:
    assert answer(running, "examples.py") == outputs()
