"""How long a runtime is supported."""

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlruntime.cli.doctor import ended_support, supported
from mlruntime.definitions.files import Definitions
from mlruntime.definitions.lifecycle import Lifecycle
from mlruntime.definitions.runtime import RuntimeDefinition, parse_runtime
from mlruntime.errors import InvalidDefinition
from mlruntime.locking.request import ask
from mlruntime.matrix.parsing import parse_matrix
from mlruntime.resolve.resolution import resolve
from mlruntime.workflows.inputs import support_warning

CHECKOUT = Path(__file__).parents[3]
DATES = {"released": "2026-01-15", "end-of-support": "2027-06-30", "end-of-life": "2027-12-31"}
DAY = timedelta(days=1)
SUPPORT, LIFE = date(2027, 6, 30), date(2027, 12, 31)


def text(lifecycle: Any) -> str:
    """Return 6.0-ml's definition with these dates, unquoted as people write them."""
    given = (CHECKOUT / "runtimes/6.0-ml/runtime.yaml").read_text(encoding="utf-8")
    return given + yaml.safe_dump({"lifecycle": lifecycle}).replace("'", "")


def read(lifecycle: Any) -> RuntimeDefinition:
    return parse_runtime(text(lifecycle), file="runtime.yaml")


@pytest.fixture
def definitions(tmp_path: Path) -> Definitions:
    folder = tmp_path / "runtimes/6.0-ml"
    folder.mkdir(parents=True)
    (folder / "runtime.yaml").write_text(text(DATES), encoding="utf-8")
    shutil.copytree(CHECKOUT / "runtimes/7.0-ml", tmp_path / "runtimes/7.0-ml")
    return Definitions(tmp_path)


def test_dates_are_read() -> None:
    found = read(DATES).lifecycle
    assert found == Lifecycle(released=date(2026, 1, 15), end_of_support=SUPPORT, end_of_life=LIFE)
    assert found.to_dict() == DATES
    assert read({"released": "2026-01-15"}).lifecycle == Lifecycle(released=date(2026, 1, 15))


@pytest.mark.parametrize(
    ("lifecycle", "message"),
    [
        ({"released": "2026-02-30"}, r"lifecycle.released: '2026-02-30' is not a date"),
        ({"released": "soon"}, r"lifecycle.released: 'soon' is not a date"),
        ({"end_of_life": "2026-01-01"}, r"did you mean 'end-of-life'"),
        ({**DATES, "end-of-support": "2026-01-14"}, r"end-of-support: .* is before released"),
        ({**DATES, "end-of-life": "2027-06-29"}, r"end-of-life: .* is before end-of-support"),
        ({}, r"lifecycle: there is no date"),
    ],
)
def test_mistakes_are_told_with_their_place(lifecycle: Any, message: str) -> None:
    with pytest.raises(InvalidDefinition, match=message):
        read(lifecycle)


@pytest.mark.parametrize(
    ("today", "told"),
    [
        (date(2026, 11, 27), None),
        (SUPPORT, None),
        (
            SUPPORT + DAY,
            "is not supported since 2027-06-30: it gets no fixes, and its life ends on",
        ),
        (LIFE, "is not supported since 2027-06-30"),
        (LIFE + DAY, "is at its end of life since 2027-12-31"),
    ],
)
def test_the_last_day_still_counts(definitions: Definitions, today: date, told: str | None) -> None:
    warning = support_warning(definitions, "6.0-ml", today)
    line, value = supported(definitions, "6.0-ml", today)
    assert value == {**DATES, "warning": warning}
    if told is None:
        assert (warning, line) == (None, None)
    else:
        assert told in str(warning)
        assert line == f"warning: {warning}"


def test_a_runtime_without_dates_is_not_warned_of(definitions: Definitions) -> None:
    assert support_warning(definitions, "7.0-ml", date.max) is None
    assert supported(definitions, "7.0-ml", date.max) == (None, None)
    assert support_warning(definitions, "somebody-elses", date.max) is None


def test_dates_change_no_lock() -> None:
    matrix = parse_matrix(
        (CHECKOUT / "matrix.yaml").read_text(encoding="utf-8"), file="matrix.yaml"
    )
    plain = parse_runtime(
        (CHECKOUT / "runtimes/6.0-ml/runtime.yaml").read_text(encoding="utf-8"), file="runtime.yaml"
    )
    resolution = resolve(matrix, plain.request)
    assert ask(matrix, read(DATES), resolution) == ask(matrix, plain, resolution)


def test_doctor_warns_of_every_runtime_whose_support_has_ended(tmp_path: Path) -> None:
    for runtime, content in (("6.0-ml", text(DATES)), ("7.0-ml", "broken: ["), ("8.0-ml", "")):
        (tmp_path / "runtimes" / runtime).mkdir(parents=True)
        (tmp_path / "runtimes" / runtime / "runtime.yaml").write_text(content, encoding="utf-8")
    found = Definitions(tmp_path)
    assert list(ended_support(found, SUPPORT)) == []
    (warning,) = ended_support(found, SUPPORT + DAY)
    assert warning.startswith("6.0-ml is not supported since 2027-06-30")
