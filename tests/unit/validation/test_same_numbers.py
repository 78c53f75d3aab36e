"""How tests compare two reports: what must count as another number, and what must not."""

from typing import Any

import pytest

from tests.same_numbers import compared, differences


def report(node: str, *, weights: list[float], **more: Any) -> dict[str, Any]:
    detail = {f"{node}.weights": {"got": weights, "want": [1.0, 2.0], "distance": 0.1}, **more}
    return {
        "checks": [
            {"name": "identity.nodes", "status": "passed", "detail": {f"{node}.python": "3.11"}},
            {"name": "spark.sums", "status": "passed", "detail": detail},
            {"name": "horovod.sums", "status": "not-run", "detail": {}},
        ]
    }


def found(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return list(differences(compared(one), compared(other)))


def test_other_nodes_and_the_last_digit_are_no_difference() -> None:
    ours = report("driver", weights=[1.0, 2.0], hosts=["a", "b"], seconds={"got": 1.0})
    theirs = report("127.0.0.1", weights=[1.0, 2.0 + 1e-13], hosts=["c"], seconds={"got": 9.0})
    assert compared(ours).keys() == {"spark.sums"}
    assert found(ours, theirs) == []


@pytest.mark.parametrize("weights", [[1.0, 2.001], [1.0], [1.0, 2.0, 3.0], [2.0, 1.0]])
def test_another_number_is_a_difference(weights: list[float]) -> None:
    assert found(report("driver", weights=[1.0, 2.0]), report("vm", weights=weights))


def test_a_number_that_is_missing_is_a_difference() -> None:
    ours = report("driver", weights=[1.0, 2.0], rows={"got": 3})
    assert found(ours, report("vm", weights=[1.0, 2.0])) == ["/spark.sums/rows: only in one"]
