"""Each name of a class has one meaning."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "builder" / "mlruntime"
# Names with two meanings that wait for a better one. Nothing is added here.
TWICE = frozenset(
    [
        "Archive",
        "Changes",
        "Channels",
        "Content",
        "DebianSource",
        "Member",
        "Package",
        "Registries",
        "Repository",
        "System",
        "Unreadable",
    ]
)


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
    assert {name: where for name, where in twice.items() if name not in TWICE} == {}
    assert set(twice) == TWICE, "take the others from the list"
