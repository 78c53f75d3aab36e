"""Documents against their forms: what is accepted, and how a mistake is told."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlruntime.definitions.runtime import RuntimeForm
from mlruntime.documents.reading import Location, read_yaml
from mlruntime.documents.schema import checked
from mlruntime.documents.yaml_loader import NotYaml, load_yaml
from mlruntime.ecosystems.native.recipe import RecipeForm
from mlruntime.errors import InvalidDefinition
from mlruntime.image.stack import StackForm
from mlruntime.lock.document import LockForm
from mlruntime.matrix.document import MatrixForm

from tests.documents import schemas

ROOT = Path(__file__).parents[3]
SCHEMAS = schemas()
FILES = {
    "matrix.yaml": MatrixForm,
    "images/layers.yaml": StackForm,
    "images/horovod/recipe.yaml": RecipeForm,
    "images/pyspark/recipe.yaml": RecipeForm,
    "runtimes/6.0-ml/runtime.yaml": RuntimeForm,
    "runtimes/7.0-ml/runtime.yaml": RuntimeForm,
    "runtimes/6.0-ml/lock.json": LockForm,
}
WRONG = [None, True, -1, 2.5, "", "zzz", [], {}, [None], {"zzz": None}]


@pytest.mark.parametrize("name", FILES)
def test_every_mistake_is_told_in_our_words_with_its_place(name: str) -> None:
    """msgspec names no key of a mapping: its words must never be needed."""
    text = (ROOT / name).read_text(encoding="utf-8")
    whole = json.loads(text) if name.endswith(".json") else load_yaml(text)
    rng = random.Random(name)
    refused = 0
    every = list(spots(whole))
    for parent, key in rng.sample(every, min(40, len(every))):
        spot = reached(whole, parent)
        right = spot[key]
        for wrong in WRONG:
            spot[key] = wrong
            try:
                checked(FILES[name], Location(whole, file=name))
            except InvalidDefinition as error:
                assert str(error.where).startswith(name)
                assert "`" not in error.what, error
                refused += 1
        spot[key] = right
    assert refused > 100


def spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield every place of a document: the way to what holds it, and its key or index."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield path, key
        yield from spots(inner, (*path, key))


def reached(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def test_a_key_of_before_is_answered_with_the_one_of_today() -> None:
    for old, new in (("against", "link-against"), ("toolchain", "build-depends")):
        with pytest.raises(InvalidDefinition) as caught:
            checked(RecipeForm, read_yaml(f"name: x\n{old}: []\n", file="r"))
        assert str(caught.value) == (
            f"r: {old}: key {old!r} is called {new!r} now\n  try: write {new!r} instead"
        )


@pytest.mark.parametrize(
    ("text", "what", "line", "column"),
    [
        ("a: 1\na: 2", "key 'a' twice", 2, 1),
        # In Python, and so in PyYAML, true, True and 1 are the same key.
        ("true: a\n1: b", 'key true is not text; write "true" in quotes', 1, 1),
        ('"true": a\n1: b', 'key 1 is not text; write "1" in quotes', 2, 1),
        ('"1": a\n"true": b\n"True": c\n"1": d', "key '1' twice", 4, 1),
        ("null: a", 'key null is not text; write "null" in quotes', 1, 1),
        ("? [a]\n: b", "a key is one word", 1, 3),
        ("a: &x [*x]", "a value that contains itself", 1, 4),
        ("a: *x", "found undefined alias", 1, 4),
        ("a: !!python/object:os.x {}", "the tag 'tag:yaml.org,2002:python/object:os.x'", 1, 4),
        ("a: !secret b", "the tag '!secret' means nothing here", 1, 4),
        ('a: !!int "x"', "'x' is no int", 1, 4),
        ('a: "\x01"', "control character U+0001", 1, 5),
        ("a: \ud800", "control character U+D800", 1, 4),
        ("a: 1\n---\nb: 2", "but found another document", 2, 1),
        ("[" * 100_000, "exceeded maximum nesting depth", 1, 1001),
    ],
)
def test_what_is_no_yaml_of_ours(text: str, what: str, line: int, column: int) -> None:
    with pytest.raises(NotYaml) as caught:
        load_yaml(text)
    assert what in caught.value.what
    assert (caught.value.line, caught.value.column) == (line, column)


def test_aliases_repeat_a_value_and_do_not_multiply_it() -> None:
    assert load_yaml("a: &x [1]\nb: *x") == {"a": [1], "b": [1]}
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefghijklm", "bcdefghijklmn", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    assert len(load_yaml("\n".join(lines))) == 14


def test_only_booleans_null_and_whole_numbers_convert() -> None:
    text = "a: 2.10\nb: 2026-11-01\nc: 1e3\nd: 12\ne: no\nf:\ng: '12'\n<<: h\n"
    assert load_yaml(text) == {
        "a": "2.10", "b": "2026-11-01", "c": "1e3", "d": 12, "e": False, "f": None, "g": "12",
        "<<": "h",
    }  # fmt: skip


# Schemas, for editors


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_in_the_repository_are_up_to_date(name: str) -> None:
    found = (ROOT / name).read_text(encoding="utf-8")
    assert found == SCHEMAS[name], "run `python -m tests.documents`"


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".yaml")])
def test_every_file_names_its_schema(name: str) -> None:
    path = ROOT / name
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    before, _, schema = first.partition("$schema=")
    assert before == "# yaml-language-server: "
    named = json.loads((path.parent / schema).read_text(encoding="utf-8"))
    kind = FILES[name].__name__
    assert named["$ref"] == f"#/$defs/{kind}"
    # What is refused here is no place for an editor to be silent about.
    assert all(
        part["additionalProperties"] is False
        for part in named["$defs"].values()
        if part.get("properties")
    )


@pytest.mark.starts
@pytest.mark.parametrize(
    "form",
    [
        "definitions.runtime.RuntimeForm",
        "ecosystems.native.recipe.RecipeForm",
        "image.stack.StackForm",
        "lock.contract.ContractForm",
        "lock.document.LockForm",
        "matrix.document.MatrixForm",
        "workflows.store.transfer.IndexForm",
    ],
)
def test_a_process_that_has_checked_a_document_ends_well(form: str) -> None:
    """msgspec's issue 717 killed one process in four; ``-X dev`` shows what it did to memory."""
    module, _, name = form.rpartition(".")
    program = f"""
import gc, msgspec
from mlruntime.{module} import {name}
try:
    msgspec.convert({{}}, {name})
except msgspec.ValidationError:
    pass
gc.collect()
"""
    assert subprocess.run([sys.executable, "-X", "dev", "-c", program]).returncode == 0
