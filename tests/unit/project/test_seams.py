"""No room tells ecosystems, or sources of layers, apart by name: it asks them."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from mlruntime.ecosystems.registered import ECOSYSTEMS
from mlruntime.image.sources.model import Content, LayerSource, Packages, SharedOut

PACKAGE = Path(__file__).parents[3] / "builder" / "mlruntime"
# What ecosystems are called, and kinds of files that only one of them has.
NAMES = frozenset({*ECOSYSTEMS, "native", "deb", "jar"})
# What compares nevertheless. Shorten this; never add to it.
COMPARING = frozenset(
    {
        # The words stand for components of the matrix, or for the distribution of a host.
        "host/settings/debian.py",
        "importing/composing.py",
        # The rest of the system is the host's, in an environment.
        "environment/inventory.py",
        # Rooms below the ecosystems, which they cannot ask.
        "fetch/routes.py",
        "matrix/delivery.py",
        "matrix/news.py",
    }
)
# What takes contents or sources apart nevertheless. Shorten this; never add to it.
TAKING_APART = frozenset(
    {"environment/contents.py", "workflows/locked.py", "workflows/planning.py"}
)
# What several sources have in common: to ask for these is to ask for no source.
COMMON = frozenset(one.__name__ for one in (Content, LayerSource, Packages, SharedOut))


def modules(*left_out: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(left_out):
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def compared(tree: ast.Module) -> set[str]:
    """Return the names of ecosystems that are compared with, spelt out or by another name."""
    known = dict(imported(tree))
    for node in tree.body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and (words := names_in(node.value, {})):
            for target in [node.target] if isinstance(node, ast.AnnAssign) else node.targets:
                known[ast.unparse(target)] = words
    found: set[str] = set()
    for node in ast.walk(tree):
        said: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            said = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            said = node.args if node.func.attr in ("startswith", "removeprefix") else []
        elif isinstance(node, ast.MatchValue):
            said = [node.value]
        for one in said:
            found |= names_in(one, known)
    return found


def imported(tree: ast.Module) -> Iterator[tuple[str, frozenset[str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlruntime.ecosy"):
            origin = frozenset({str(node.module).rpartition(".")[2]})
            yield from ((n.asname or n.name, origin) for n in node.names if n.name == "ORIGIN")


def names_in(node: ast.expr | None, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the names of ecosystems in an operand: itself, or a list of them."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return NAMES & {node.value.rstrip(":")}
    if isinstance(node, ast.Name):
        return known.get(node.id, frozenset())
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return frozenset(name for element in node.elts for name in names_in(element, known))
    return frozenset()


def test_no_room_compares_with_the_name_of_an_ecosystem() -> None:
    found = {name: names for name, tree in modules("ecosystems/") if (names := compared(tree))}
    assert found.keys() == COMPARING, found


@pytest.mark.parametrize(
    "text",
    [
        'a.origin == "pypi"',
        'a.kind in ("deb", "wheel")',
        'a.origin.startswith("conda:")',
        "from mlruntime.ecosystems.maven import ORIGIN as M\nx = one.origin != M",
        'WHICH: Final = "debian"\nx = one == WHICH',
        'match a.kind:\n    case "jar":\n        pass',
    ],
)
def test_a_comparison_with_a_name_is_seen(text: str) -> None:
    assert compared(ast.parse(text))


def test_no_room_takes_the_content_of_layers_apart() -> None:
    sources = {
        node.name
        for name, tree in modules()
        if name.startswith("image/sources/")
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    } - COMMON
    found = {
        name: told
        for name, tree in modules("image/sources/")
        if (told := {n for n in checked_types(tree) if n in sources})
    }
    assert found.keys() == TAKING_APART, found


def checked_types(tree: ast.Module) -> Iterator[str]:
    """Yield the classes that ``isinstance`` is asked for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            yield from (n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name))
