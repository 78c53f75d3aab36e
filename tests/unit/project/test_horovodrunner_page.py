"""``docs/horovodrunner.md``: its programs are the tested files, its tables name what there is."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from tests.documents import CHECKOUT, text_of
from tests.horovodrunner_page import EXAMPLES, PAGE, outputs, programs

LIBRARY = CHECKOUT / "images" / "sparkdl"


def test_every_program_is_a_file_to_the_letter() -> None:
    found = programs()
    assert {name: text_of(EXAMPLES / name) for name in found} == found
    assert found.keys() == {path.name for path in EXAMPLES.glob("*.py")}
    # No Python on the page that is not one of them.
    assert len(re.findall(r"^```python$", text_of(PAGE), re.MULTILINE)) == len(found)


def test_every_output_is_that_of_a_program() -> None:
    assert {run.split()[0] for run in outputs()} == programs().keys()
    assert len(re.findall(r"^```text$", text_of(PAGE), re.MULTILINE)) == len(outputs())


def rows(title: str) -> list[str]:
    """Return the rows of the first table after a heading."""
    section = text_of(PAGE).partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `.*\|$", section, re.MULTILINE)


def test_every_parameter_of_the_estimator_is_there() -> None:
    tree = ast.parse(text_of(LIBRARY / "sparkdl" / "estimator" / "_params.py"))
    names = {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and ast.unparse(node.annotation) == "Param"
    }
    told = {name for row in rows("In a Spark ML pipeline") for name in _names(row)}
    assert told == names


def _names(row: str) -> list[str]:
    return re.findall(r"`(\w+)`", row.split("|")[1])


def test_every_option_is_there_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(LIBRARY))
    options = importlib.import_module("sparkdl._options").RunOptions()
    told = {}
    for row in rows("Options of a run"):
        _, name, default, *_ = row.split("|")
        told[name.strip(" `")] = ast.literal_eval(default.strip(" `"))
    assert told == {name: getattr(options, name) for name in options.__slots__}


def test_every_error_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(LIBRARY))
    errors = importlib.import_module("sparkdl._errors")
    own = {
        name
        for name, one in vars(errors).items()
        if isinstance(one, type)
        and issubclass(one, Exception)
        and one.__module__ == errors.__name__
    }
    assert own <= {name for row in rows("Errors") for name in _names(row)}


def test_the_page_is_linked() -> None:
    assert "(docs/horovodrunner.md)" in text_of(Path(CHECKOUT, "README.md"))
