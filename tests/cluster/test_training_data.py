"""``sparkdl.data`` and ``sparkdl.estimator`` on a cluster, and the documentation's programs."""

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from mlruntime.cluster.containers import ContainerCluster
from mlruntime.engine import Engine

from tests.cluster.training import answer, training_cluster
from tests.conftest import Runtime
from tests.horovodrunner_page import outputs

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def running(engine: Engine, runtime: Runtime) -> Iterator[ContainerCluster]:
    with training_cluster(engine, runtime) as up:
        yield up


@pytest.fixture(scope="module")
def rows(running: ContainerCluster) -> dict[str, Any]:
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
        "missing, by one name": "the DataFrame has no column 'id'",
        "not shared": "/tmp is not shared: ",
        "no such directory": "/nowhere/at/all",
        "no rows": "the DataFrame has no rows",
        "none to validate with": "no row of 3 is left to validate with: validation=1e-09 held none",
        "none to train on": "no row of 1 is left to train on: 'v' is true in all of them",
        "none flagged": "no row of 1 is left to validate with: 'v' is true in none of them",
        "pandas": "a Spark DataFrame is needed, not pandas.DataFrame: make one with spark.create",
    }
    assert said.keys() == begins.keys()
    for name, text in begins.items():
        assert said[name].startswith(text), said[name]


def test_numbers_that_float32_cannot_tell_apart_are_told(rows: dict[str, Any]) -> None:
    found = rows["narrowing"]
    seconds = [float(1_700_000_000 + i) for i in range(100)]
    assert found["as they are"] == {"values": seconds, "type": "float64", "said": []}
    assert found["seconds"].startswith(
        "column 'c' has numbers from 1700000000 to 1700000099, which float32 rounds by up to 64. "
    )
    assert found["seconds"].endswith("or keep them as they are with float_dtype='float64'.")
    assert found["hours"]["type"] == "float32"
    (said,) = found["hours"]["said"]
    assert "rounds by up to 64: neighbouring whole numbers become one. " in said
    assert found["second of two"].startswith("column 'c', position 1, has numbers from ")
    assert found["infinite"].startswith("column 'c' has 1e+300, which float32 cannot hold: ")
    assert found["to nothing"].startswith("column 'c' has numbers from 1e-50 to 2e-50, which")
    # What was infinite before, or is a little off as every decimal is, is nobody's fault.
    assert found["infinite before"] == {"values": [1.0, math.inf], "type": "float32", "said": []}
    assert found["tenths"] == {"values": [0.10000000149011612] * 2, "type": "float32", "said": []}
    assert found["long"] == {"values": [2**60, 2**60 + 1], "type": "int64", "said": []}


def test_what_the_error_advises_gives_the_right_numbers(rows: dict[str, Any]) -> None:
    assert rows["advice"] == {
        "date'2020-02-01'": [31],
        "timestamp'2020-01-02 00:00:01'": [86401],
        "timestamp_ntz'2020-01-02 00:00:01'": [86401],
        "cast(1.25 as decimal(30, 2))": [1.25],
        "cast(16777217 as decimal(12, 0))": [16777217],
        "interval '1 02:00:01.5' day to second": [93601],
        "interval '1-2' year to month": [14],
        "array(date'2020-01-03', date'2020-01-02')": [[2, 1]],
        "array(array(date'2020-01-03'))": [[[2]]],
    }


@pytest.fixture(scope="module")
def stages(running: ContainerCluster) -> dict[str, Any]:
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


def test_the_documentation_prints_what_it_says(running: ContainerCluster) -> None:
    assert answer(running, "examples.py") == outputs()
