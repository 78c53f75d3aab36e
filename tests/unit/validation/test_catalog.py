"""The catalog and the programs must name the same checks."""

import ast
from pathlib import Path

import pytest
from mlruntime.validation import catalog
from mlruntime.validation.catalog import CHECKS

PROGRAMS = Path(catalog.__file__).parent / "programs"
FAMILIES = [
    "identity",
    "image",
    "static",
    "spark",
    "barrier",
    "mllib",
    "graphframes",
    "tensorflow",
    "keras",
    "horovod",
    "horovodrunner",
    "pipeline",
    "ml",
    "mlspark",
    "cloud",
    "gpu",
]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and [argument.arg for argument in node.args.args] == ["cluster", "proof"]
        and not node.name.startswith("_")
    }


def test_names_are_unique() -> None:
    names = [check.name for check in CHECKS]
    assert len(names) == len(set(names))


def test_every_family_of_the_contract_has_checks() -> None:
    assert {check.family for check in CHECKS} == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_exactly_the_functions_the_catalog_names(family: str) -> None:
    listed = {check.name.partition(".")[2] for check in CHECKS if check.family == family}
    assert functions(PROGRAMS / f"check_{family}.py") == listed


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_limits_are_long_enough_to_be_fair_and_short_enough_to_end(
    check: catalog.CheckSpec,
) -> None:
    assert 20 <= check.timeout <= 180
    assert check.summary


def test_a_check_without_the_session_does_not_touch_it() -> None:
    for check in CHECKS:
        if check.session == "plain":
            source = (PROGRAMS / f"check_{check.family}.py").read_text(encoding="utf-8")
            assert "cluster.spark" not in source and "cluster.context" not in source


def test_the_programs_do_not_import_the_builder() -> None:
    for path in PROGRAMS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.split(".")[0] == "builder" for name in names), path


def test_no_program_can_skip() -> None:
    for path in PROGRAMS.glob("*.py"):
        assert "skip" not in path.read_text(encoding="utf-8").lower(), path
