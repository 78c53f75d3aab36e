"""What of the matrix a lock depends on."""

from pathlib import Path

import pytest
from mlruntime.locking.staleness import facts

from tests.unit.test_cli_errors import MATRIX

OURS = (Path(__file__).parents[2] / "matrix.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("evidence: documented", "evidence: cluster"),
        ("date: 2026-11-20", "date: 2026-11-25"),
        ("source: https://spark.apache.org/docs/3.5.8/", 'source: "measured: by hand"'),
        ("says: Spark needs a new Python", "says: Spark needs Python 3.11"),
        ("rules:\n", "# a comment\n\nrules:\n"),
    ],
)
def test_how_a_fact_is_known_is_none(old: str, new: str) -> None:
    assert old in MATRIX
    assert facts(MATRIX.replace(old, new)) == facts(MATRIX)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (">=3.11", ">=3.10"),
        ('"3.10"]', '"3.10", "3.9"]'),
        ("[spark, python", "[python, spark"),
        ("python{python.minor}", "python{python.major}"),
        # Components whose names are keys of a rule.
        ("  spark:\n", "  source: {title: x, summary: x, releases: [1.0]}\n  spark:\n"),
        ("date: 2026-11-20", "date:\n      2026-11-25"),
    ],
)
def test_everything_else_counts(old: str, new: str) -> None:
    assert old in MATRIX
    assert facts(MATRIX.replace(old, new)) != facts(MATRIX)


def test_nothing_but_facts_is_left_of_ours() -> None:
    left = facts(OURS)
    assert "evidence:" not in left
    assert "#" not in left
    assert left.count("- id: ") == OURS.count("- id: ")
