"""Tests that the documentation names: those that CI leaves out, and those of what is protected."""

import ast
import re
from pathlib import Path

from tests.documents import CHECKOUT, text_of

TESTS = CHECKOUT / "tests"


def _marked(path: Path) -> set[str]:
    """Return what only ``./dev test --all`` runs: tests, and modules of which it is all."""
    tree = ast.parse(text_of(path))
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            marks = {ast.unparse(decorator) for decorator in node.decorator_list}
            if any("pytest.mark.extra" in mark for mark in marks):  # also of one parameter
                found.add(node.name)
        elif isinstance(node, ast.Assign) and "pytest.mark.extra" in ast.unparse(node.value):
            found.add(path.stem)
    return found


def test_each_test_that_ci_leaves_out_has_its_reason() -> None:
    left_out = set[str]().union(*(_marked(path) for path in sorted(TESTS.rglob("test_*.py"))))
    assert left_out
    listed = re.findall(
        r"^\| `(test_\w+)` \| (.+) \|$", text_of(CHECKOUT / "docs/testing.md"), re.M
    )
    assert {name for name, _ in listed} == left_out
    assert all(len(reason) > 20 for _, reason in listed)


def test_what_protects_a_cluster_names_tests_that_there_are() -> None:
    page = text_of(CHECKOUT / "docs/clusters.md")
    rows = re.findall(r"^\| .+ \| .+ \| (.*`test_\w+`.*) \|$", page, re.M)
    assert len(rows) > 5
    there = {
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.FunctionDef)
    }
    assert {name for row in rows for name in re.findall(r"test_\w+", row)} <= there
