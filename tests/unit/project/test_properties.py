"""How many inputs a property test tries is up to the profile of the run (docs/testing.md)."""

import ast
from pathlib import Path

from tests.documents import CHECKOUT, text_of

TESTS = CHECKOUT / "tests"
# Where the profiles are, and where a share of their number is taken.
_DECIDE = {TESTS / "conftest.py", TESTS / "properties.py"}


def _sets_a_number(path: Path) -> bool:
    calls = (node for node in ast.walk(ast.parse(text_of(path))) if isinstance(node, ast.Call))
    return any(word.arg == "max_examples" for call in calls for word in call.keywords)


def test_no_property_has_a_number_of_inputs_of_its_own() -> None:
    assert {path for path in TESTS.rglob("*.py") if _sets_a_number(path)} == _DECIDE
