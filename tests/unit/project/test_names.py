"""Each name of a class has one meaning, and tests use only those that are public."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
PACKAGE = TESTS.parent / "builder" / "mlruntime"
# Tests of the library in the image, and programs that run there with it.
OF_SPARKDL = ("unit/sparkdl", "cluster/inside")


def classes() -> dict[str, list[str]]:
    """Return the modules that define a public class, by the class's name."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    return found


def test_no_class_has_the_name_of_another() -> None:
    twice = {name: where for name, where in classes().items() if len(where) > 1}
    assert twice == {}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names_of_ours() -> set[str]:
    """Return the private names of modules, classes and objects that the package defines."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
    return {name for name in found if private(name)}


def private_uses(tree: ast.AST, ours: set[str]) -> Iterator[str]:
    """Yield where a test imports, reads or patches a private name of the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlruntime"):
            yield from (f"{node.lineno}: {a.name}" for a in node.names if private(a.name))
        elif isinstance(node, ast.Attribute) and node.attr in ours:
            of = node.value
            if not (isinstance(of, ast.Name) and of.id in ("self", "cls", "os")):
                yield f"{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attr"):
            # `setattr`, `delattr`, `getattr`, with a name or a path to one
            texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
            last = [t.rpartition(".")[2] for t in texts if isinstance(t, str)]
            yield from (f"{node.lineno}: {name}" for name in last if name in ours)


def test_no_test_reaches_for_a_private_name() -> None:
    """What a test needs is public, or is tested by what it does.

    ``sparkdl`` is left out: all of its modules but the front are private by their names.
    """
    ours = private_names_of_ours()
    assert {"_HANDLER", "_api"} <= ours
    found = [
        f"{path.relative_to(TESTS)}:{use}"
        for path in sorted(TESTS.rglob("*.py"))
        if not any(path.is_relative_to(TESTS / folder) for folder in OF_SPARKDL)
        for use in private_uses(ast.parse(path.read_text(encoding="utf-8")), ours)
    ]
    assert found == []


@pytest.mark.parametrize(
    "program",
    [
        "from mlruntime.cli.logs import _HANDLER",
        "engine._api",
        "monkeypatch.setattr(logs, '_HANDLER', None)",
        "monkeypatch.setattr('mlruntime.cli.logs._HANDLER', None)",
    ],
)
def test_a_use_of_a_private_name_is_seen(program: str) -> None:
    assert list(private_uses(ast.parse(program), {"_HANDLER", "_api"}))
