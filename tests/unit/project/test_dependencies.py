"""What we depend on: declared, locked, and exact where it decides an image's bytes."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
DECLARED = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
EXTRAS = [
    Requirement(text)
    for extra in PROJECT["project"]["optional-dependencies"].values()
    for text in extra
]
DEV = [Requirement(text) for text in PROJECT["dependency-groups"]["dev"]]
# Another release of one of these may write other bytes into a layer.
DECIDE_BYTES = {"installer", "isal", "jinja2", "python-debian"}


@pytest.mark.parametrize("requirement", [*DECLARED, *DEV], ids=str)
def test_the_lock_has_what_is_required(requirement: Requirement) -> None:
    pinned = re.findall(rf"^{re.escape(requirement.name)}==(\S+)", LOCK, re.MULTILINE | re.I)
    assert pinned, "run `./dev dependencies`"
    assert all(requirement.specifier.contains(version) for version in pinned)


def test_the_lock_has_hashes_and_names_no_index() -> None:
    entries = re.split(r"^(?=\S+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"https?://|--index|--find-links|--trusted-host", LOCK)


def test_what_decides_bytes_is_pinned_exactly() -> None:
    exact = {r.name for r in DECLARED if [s.operator for s in r.specifier] == ["=="]}
    assert exact == DECIDE_BYTES


def test_what_is_imported_is_declared() -> None:
    declared = {canonicalize_name(r.name) for r in (*DECLARED, *EXTRAS)}
    known, undeclared = packages_distributions(), set()
    for path in (ROOT / "builder" / "mlruntime").rglob("*.py"):
        if "programs" in path.parts:  # they run in images
            continue
        for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
            if name in sys.stdlib_module_names or name == "mlruntime":
                continue
            if not declared & {canonicalize_name(d) for d in known.get(name, [])}:
                undeclared.add(f"{path.relative_to(ROOT)}: {name}")
    assert undeclared == set()


def imported(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
