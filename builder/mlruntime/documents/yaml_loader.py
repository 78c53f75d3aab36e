"""YAML as values: libyaml's parser, and stricter than YAML about what a key is.

Dates, versions and fractions stay text; only booleans, null and whole numbers convert.
"""

import re
from typing import Any, Final

import yaml

# For example a PyYAML that was built without libyaml: the same values, but slower.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = "tag:yaml.org,2002:"
_UNDER_WAY: Final = object()
_NOT_TEXT: Final = frozenset(f"{_TAG}{name}" for name in ("bool", "int", "null"))
# Characters that YAML 1.2 allows nowhere, not even in quotes.
_CONTROL: Final = re.compile(
    r"[^\x09\x0A\x0D\x20-\x7E\x85\xA0-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]"
)


class NotYaml(Exception):
    """What is wrong, and where: line and column from 1, or 0 when that is not known."""

    def __init__(self, what: str, line: int = 0, column: int = 0) -> None:
        super().__init__(what)
        self.what = what
        self.line = line
        self.column = column


class _Loader(_Base):  # type: ignore[misc]
    """Composes nodes; ``_value`` makes the values."""


# 2.10 must stay "2.10", 2026-11-01 a date, and << a key like any other.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag in _NOT_TEXT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_yaml(text: str) -> Any:
    """Return the value of the one document in ``text``; raises ``NotYaml``."""
    _refuse_control(text)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            return None if node is None else _value(loader, node, {})
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        at = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise NotYaml(_worded(problem, text), *at) from None
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise NotYaml(str(problem).partition("\n")[0]) from None


def _worded(problem: yaml.MarkedYAMLError, text: str) -> str:
    """Return libyaml's words, with the character that it does not name."""
    what = str(problem.problem or problem.context).replace("did not find expected", "expected")
    mark = problem.problem_mark
    if mark and what.startswith("found character that"):
        line = text.splitlines()[mark.line]
        what = what.replace("character", f"character {line[mark.column]!r}", 1)
    return what


def _refuse_control(text: str) -> None:
    if found := _CONTROL.search(text):
        before = text[: found.start()]
        line, column = before.count("\n") + 1, found.start() - before.rfind("\n")
        raise NotYaml(f"control character U+{ord(found[0]):04X}", line, column)


def _value(loader: Any, node: yaml.Node, known: dict[int, Any]) -> Any:
    """Return a node's value; ``known`` has those of other nodes by id, for aliases repeat them."""
    if isinstance(node, yaml.ScalarNode):
        return _scalar(loader, node)
    if id(node) in known:
        if known[id(node)] is _UNDER_WAY:
            raise _at(node, "a value that contains itself")
        return known[id(node)]
    known[id(node)] = _UNDER_WAY
    if isinstance(node, yaml.SequenceNode):
        _refuse_tag(node, "seq")
        made: Any = [_value(loader, item, known) for item in node.value]
    else:
        _refuse_tag(node, "map")
        made = _mapping(loader, node, known)
    known[id(node)] = made
    return made


def _mapping(loader: Any, node: yaml.Node, known: dict[int, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _key(key_node)
        if key in found:
            raise _at(key_node, f"key {key!r} twice")
        found[key] = _value(loader, value_node, known)
    return found


def _scalar(loader: Any, node: yaml.ScalarNode) -> Any:
    if node.tag == f"{_TAG}str":
        return node.value
    if node.tag not in _NOT_TEXT:
        raise _at(node, f"the tag {node.tag!r} means nothing here")
    try:
        return loader.construct_object(node)
    except (ValueError, IndexError, KeyError):  # !!int "x"
        raise _at(node, f"{node.value!r} is no {node.tag.removeprefix(_TAG)}") from None


def _key(node: yaml.Node) -> str:
    """Return a key. All of ours are text: ``true``, ``True`` and ``1`` are told apart by this."""
    if not isinstance(node, yaml.ScalarNode):
        raise _at(node, "a key is one word")
    if node.tag != f"{_TAG}str":
        raise _at(node, f'key {node.value} is not text; write "{node.value}" in quotes')
    return str(node.value)


def _refuse_tag(node: yaml.Node, kind: str) -> None:
    if node.tag != f"{_TAG}{kind}":
        raise _at(node, f"the tag {node.tag!r} means nothing here")


def _at(node: yaml.Node, what: str) -> NotYaml:
    return NotYaml(what, node.start_mark.line + 1, node.start_mark.column + 1)
