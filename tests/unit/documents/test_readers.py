"""Files that people write, and those that mlruntime writes: damaged, they are refused in words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.cluster.form import parse_cluster
from mlruntime.definitions.files import read_text
from mlruntime.definitions.runtime import parse_runtime
from mlruntime.ecosystems.native.recipe import parse_recipe
from mlruntime.errors import InvalidDefinition, MlruntimeError
from mlruntime.image.stack import parse_stack
from mlruntime.lock.contract import parse_contract
from mlruntime.lock.document import parse_lock
from mlruntime.matrix.parsing import parse_matrix
from mlruntime.release.policy import parse_policy

from tests.unit.damaged import damaged, other_values

ROOT: Final = Path(__file__).parents[3]
CONTRACT: Final = (
    '{"minimum_driver": "525.60.13", "cuda": "12.3", "architectures": ["7.0", "8.0"],'
    ' "ptx": ["9.0"], "memory_mib": 8192}'
)
# The real matrix takes a tenth of a second to read; this has one of everything that it has.
MATRIX: Final = """\
components:
  python:
    title: Python
    summary: the language
    releases: ["3.11.2", "3.10.1"]
  spark:
    title: Spark
    summary: the engine
    releases: ["3.5.8", "3.5.7"]
    on-request: false
    variants: [cpu, gpu]
    artifacts:
      - {origin: pypi, name: pyspark, variants: [cpu], extras: [sql], releases: "==3.5.*"}
      - {origin: maven, name: "org.apache.spark:spark-avro_2.12", excludes: ["a:b"]}
  mllib:
    title: MLlib
    summary: a part of Spark
    part-of: spark
preference: [spark, mllib, python]
rules:
  - id: spark-python
    says: Spark 3.5 runs on Python 3.11
    when: {spark: "==3.5.*"}
    requires: {python: ["==3.11.*", "==3.10.*"]}
    conflicts: {python: "==3.10.*"}
    delivered: {spark: pypi}
    evidence: documented
    source: https://example.org/
    date: "2026-11-20"
"""


def of_file(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# By what a file is: a sound one, and who reads it.
READERS: Final[dict[str, tuple[str, Callable[..., Any]]]] = {
    "lock.json": (of_file("tests/golden/lock/tiny.json"), parse_lock),
    "matrix.yaml": (MATRIX, parse_matrix),
    "runtime.yaml": (of_file("runtimes/7.0-ml/runtime.yaml"), parse_runtime),
    "cluster.yaml": (of_file("docs/examples/cluster.yaml"), parse_cluster),
    "layers.yaml": (of_file("images/layers.yaml"), parse_stack),
    "recipe.yaml": (of_file("images/pyspark/recipe.yaml"), parse_recipe),
    "release.yaml": (of_file("release.yaml"), parse_policy),
    "contract.json": (CONTRACT, parse_contract),
}
EVERY: Final = pytest.mark.parametrize("name", READERS)


def is_read_or_refused(name: str, text: str) -> None:
    """A refusal has exit code 4, and names the file."""
    try:
        READERS[name][1](text, file=name)
    except MlruntimeError as error:
        assert error.exit_code == 4, error
        assert name in str(error.where), error


@EVERY
def test_the_sound_one_is_read(name: str) -> None:
    text, parse = READERS[name]
    parse(text, file=name)


@EVERY
@given(data=st.data())
def test_a_damaged_one_is_read_or_refused(name: str, data: st.DataObject) -> None:
    content = data.draw(damaged(READERS[name][0].encode()))
    is_read_or_refused(name, content.decode(errors="replace"))


@EVERY
@given(data=st.data())
def test_another_value_is_read_or_refused(name: str, data: st.DataObject) -> None:
    whole = yaml.load(READERS[name][0], yaml.BaseLoader)
    if name.endswith(".json"):
        whole = json.loads(READERS[name][0])
    is_read_or_refused(name, data.draw(other_values(whole)).decode())


@EVERY
@pytest.mark.parametrize("text", ["", "\0", "[" * 9000, "{a: " * 9000, "- " * 9000])
def test_nothing_and_too_much_are_refused(name: str, text: str) -> None:
    with pytest.raises(MlruntimeError) as caught:
        READERS[name][1](text, file=name)
    assert caught.value.exit_code == 4


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "matrix.yaml"
    file.write_bytes(b"components: \xff\n")
    with pytest.raises(InvalidDefinition) as caught:
        read_text(file, "matrix.yaml")
    assert caught.value.where == "matrix.yaml"
