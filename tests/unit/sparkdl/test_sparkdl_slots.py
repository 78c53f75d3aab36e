"""For how long ranks wait for their slots."""

from typing import Any

import pytest

from tests.unit.sparkdl_library import load

slots = load("_slots")


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"spark.executor.instances": "3", "spark.master": "spark://h:7077"}, 3),
        ({"spark.master": "spark://h:7077"}, 0),
        ({"spark.master": "k8s://https://h:443"}, 2),
        ({"spark.master": "yarn"}, 2),
        ({"spark.master": "local[4]"}, 0),
        ({}, 0),
    ],
)
def test_what_an_application_was_promised(settings: dict[str, str], count: int) -> None:
    assert slots.promised(settings.get) == count


def patience(**changed: Any) -> Any:
    given = {"np": 4, "began": 1000.0, "born": 0.0, "promised": 0, "wait": 300.0}
    return slots.Patience(**given | changed)


def test_an_old_application_with_too_few_slots_is_told_within_seconds() -> None:
    assert patience().deadline(2, 1, 1000) == 1002
    assert patience(promised=1).deadline(2, 1, 1000) == 1002


def test_promised_executors_are_waited_for() -> None:
    waiting = patience(promised=2)
    assert waiting.deadline(0, 0, 1000) == 1300
    assert waiting.deadline(2, 1, 1100) == 1300
    assert waiting.deadline(3, 2, 1150) == 1002  # all are there: more will not come
    words = (
        "2 of 4 task slots so far, and 1 of 2 executors (spark.executor.instances): waiting up to"
    )
    assert waiting.waiting(2, 1, 200).startswith(words)


def test_no_slot_at_all_is_given_a_moment() -> None:
    assert patience().deadline(0, 0, 1000) == 1020


def test_a_new_application_is_given_longer() -> None:
    assert patience(born=995.0).deadline(0, 0, 1000) == 1055
    new = patience(born=995.0)
    assert new.deadline(2, 1, 1014) == 1019
    assert new.deadline(3, 2, 1016) == 1021
    assert "executors may still be coming" in new.waiting(3, 2, 5)
