"""What a lock follows from, and what it does not depend on."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.native.inputs import load_recipes
from mlruntime.locking.staleness import input_digests, stale
from mlruntime.workflows.locked import lock_request, read_lock

from tests.unit.cli.test_cli_errors import root, swap

__all__ = ["root"]
Y, R, P = "matrix.yaml", "runtimes/0.1-ml/runtime.yaml", "images/toy/recipe.yaml"
ASKED = "what runtime.yaml and matrix.yaml ask for has changed since"


def why(folder: Path) -> tuple[str, ...]:
    definitions = Definitions(folder)
    recipes = load_recipes(definitions.images_folder())
    return stale(read_lock(definitions, "0.1-ml"), lock_request(definitions, "0.1-ml"), recipes)


@pytest.fixture
def locked(root: Path) -> Path:
    assert why(root) == ()
    return root


@pytest.mark.parametrize(
    "change",
    [
        swap(Y, "evidence: documented", "evidence: cluster"),
        swap(Y, "date: 2026-11-20", "date: 2026-11-25"),
        swap(Y, "source: https://spark.apache.org/docs/3.5.8/", 'source: "measured: by hand"'),
        swap(Y, "says: Spark needs a new Python", "says: Spark needs Python 3.11"),
        swap(Y, "rules:\n", "# a comment\n\nrules:\n"),
        swap(Y, ">=3.11", ">=3.10"),
        # An older release, one that no request allows, and one more component.
        swap(Y, '"3.10"]', '"3.10", "3.9"]'),
        swap(Y, '["3.5.8"]', '["3.5.8", "4.0.0"]'),
        swap(R, "summary: x", "summary: another one"),
        swap(R, "runtime: ", "# a comment\nruntime: "),
        swap(P, "name: toy", "# a comment\nname: toy"),
    ],
)
def test_what_changes_nothing_that_is_asked_for(
    locked: Path, change: Callable[[Path], object]
) -> None:
    change(locked)
    assert why(locked) == ()


def test_one_more_component_changes_nothing(locked: Path) -> None:
    other = "  other: {title: x, summary: x, releases: ['1.0']}\n  spark:\n"
    swap(Y, "  spark:\n", other)(locked)
    swap(Y, "preference: [", "preference: [other, ")(locked)
    assert why(locked) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (swap(Y, '["3.5.8"]', '["3.5.8", "3.5.9"]'), ("spark 3.5.8 locked, 3.5.9 resolved",)),
        (swap(Y, "python{python.minor}", "python{python.major}"), (ASKED,)),
        (swap(R, "2026-11-20T", "2026-11-21T"), (ASKED,)),
        (
            swap(P, "1+a", "1+b"),
            ("a recipe, patch or script under images/ has changed since",),
        ),
    ],
)
def test_what_does(locked: Path, change: Callable[[Path], object], said: tuple[str, ...]) -> None:
    change(locked)
    assert why(locked) == said


def test_a_patch_counts(locked: Path) -> None:
    (locked / "images/toy/one.patch").write_text("another", encoding="utf-8")
    assert why(locked) == ("a recipe, patch or script under images/ has changed since",)


def test_the_digest_depends_on_neither_order_nor_empty_fields(locked: Path) -> None:
    """A field that is added to what is asked for makes no lock stale that leaves it empty."""
    request = lock_request(Definitions(locked), "0.1-ml")
    assert dict(input_digests(request, {}))["request"] == (
        "sha256:994d1c60b33cc71c63d3df0cfa1a08cd4322d62e5f1b980106b8aa2db3548a88"
    )
