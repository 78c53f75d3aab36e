"""The words of a conflict and of a resolution, as people will read them."""

from pathlib import Path

import pytest
from mlruntime.definitions.runtime import RuntimeDefinition, parse_runtime
from mlruntime.documents.tables import (
    Table,
    plain,
)
from mlruntime.errors import NoCompatibleVersions
from mlruntime.matrix.parsing import Matrix, parse_matrix
from mlruntime.resolve.resolution import resolve
from mlruntime.resolve.wording import resolution_rows
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "explain"


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return parse_matrix((ROOT / "matrix.yaml").read_text(encoding="utf-8"), file="matrix.yaml")


@pytest.fixture(scope="module")
def runtime() -> RuntimeDefinition:
    text = (ROOT / "runtimes/6.0-ml/runtime.yaml").read_text(encoding="utf-8")
    return parse_runtime(text, file="runtime.yaml")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("horovod-on-new-tensorflow", ["tensorflow==2.16.2"]),
        ("java-of-another-debian", ["java==21"]),
        ("no-such-release", ["tensorflow==2.99"]),
        ("two-lines-must-change", ["python==3.12", "debian==13"]),
        ("old-pandas-new-numpy", ["numpy>=2", "pandas<2.2"]),
    ],
)
def test_a_conflict_in_words(
    matrix: Matrix, runtime: RuntimeDefinition, name: str, settings: list[str]
) -> None:
    with pytest.raises(NoCompatibleVersions) as failure:
        resolve(matrix, runtime.with_settings(settings).request)
    assert f"{failure.value}\n" == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert failure.value.exit_code == 3


def test_a_conflict_between_rules_that_meet_in_a_component_nobody_named(matrix: Matrix) -> None:
    request = [("debian", SpecifierSet("==13")), ("tensorflow", SpecifierSet("==2.19.*"))]
    with pytest.raises(NoCompatibleVersions) as failure:
        resolve(matrix, request)
    assert f"{failure.value}\n" == (GOLDEN / "a-chain-of-rules.txt").read_text(encoding="utf-8")


def test_the_reasons_of_6_0_ml(matrix: Matrix, runtime: RuntimeDefinition) -> None:
    rows = tuple(resolution_rows(resolve(matrix, runtime.request)))
    table = Table(title=runtime.summary, columns=("component", "version", "why"), rows=rows)
    assert plain(table) + "\n" == (GOLDEN / "6.0-ml.txt").read_text(encoding="utf-8")


def test_components_nobody_asked_for_say_who_needs_them(matrix: Matrix) -> None:
    request = parse_runtime(
        "{runtime: r, summary: s, snapshot: 2026-11-20T00:00:00Z, variants: [cpu],"
        " request: {graphframes: '*', debian: '13'}}",
        file="r",
    ).request
    rows = tuple(resolution_rows(resolve(matrix, request)))
    text = plain(Table(title="t", columns=("component", "version", "why"), rows=rows))
    assert text + "\n" == (GOLDEN / "drawn-in.txt").read_text(encoding="utf-8")
