"""Changing the text of ``matrix.yaml`` and leaving everything else in it as it is. Core: no I/O.

The file is written by people, with comments and a layout. Only the lines that say something else
change; what is not in the form that the file uses is refused rather than guessed at. Round trips
through ruamel.yaml were tried: they keep comments, and lay out dozens of other lines anew.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from packaging.version import Version

from mlruntime.errors import InvalidDefinition

_WIDTH: Final = 99
_FILE: Final = "matrix.yaml"
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9./:@_+-]*")


def with_rule(text: str, ident: str, values: Mapping[str, str]) -> str:
    """Return the text with some keys of one rule (``evidence``, ``source``, ``date``) replaced.

    Raises ``InvalidDefinition`` when the rule or one of the keys is not on a line of its own.
    """
    lines = text.splitlines(keepends=True)
    starts = [i for i, line in enumerate(lines) if _is_rule(line, ident)]
    if len(starts) != 1:
        raise InvalidDefinition(
            f"rule {ident!r} cannot be edited", where=_FILE, why="it has no line `  - id: …`"
        )
    first = starts[0] + 1
    last = next((i for i in range(first, len(lines)) if re.match(r"\s{0,2}\S", lines[i])), None)
    for key, value in values.items():
        at = [i for i in range(first, last or len(lines)) if lines[i].startswith(f"    {key}: ")]
        if len(at) != 1 or _goes_on(lines, at[0]):
            raise InvalidDefinition(
                f"rule {ident!r} cannot be edited",
                where=_FILE,
                why=f"its {key} does not stand on one line of its own",
            )
        comment = re.search(r"\s+#[^\"']*$", lines[at[0]].rstrip("\n"))
        end = f"{comment[0] if comment else ''}\n"
        lines[at[0]] = f"    {key}: {_scalar(value)}{end}"
    return "".join(lines)


def with_rule_added(text: str, component: str, rule: Mapping[str, str]) -> str:
    """Return the text with one more rule; ``rule`` are its lines by key, the values as YAML.

    It comes after the last rule that begins with the component, else after all.
    """
    lines = text.splitlines(keepends=True)
    if "rules: []\n" in lines:
        lines[lines.index("rules: []\n")] = "rules:\n"
    if "rules:\n" not in lines:
        raise InvalidDefinition("no rule can be added", where=_FILE, why="it has no line `rules:`")
    begin = re.compile(rf"    when: \{{{re.escape(component)}: ")
    own = [i for i, line in enumerate(lines) if begin.match(line)]
    at = len(lines)
    if own:
        after = (i for i in range(own[-1], len(lines)) if re.match(r"\s{0,2}\S|\s*$", lines[i]))
        at = next(after, len(lines))
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    keys = [f"    {key}: {value}\n" for key, value in rule.items()]
    keys[0] = f"  - {keys[0].lstrip()}"
    return "".join([*lines[:at], *keys, *lines[at:]])


def _is_rule(line: str, ident: str) -> bool:
    return (
        re.fullmatch(rf"  - id: [\"']?{re.escape(ident)}[\"']?\s*(#.*)?", line.rstrip()) is not None
    )


def _goes_on(lines: list[str], at: int) -> bool:
    return at + 1 < len(lines) and re.match(r"\s{5,}\S", lines[at + 1]) is not None


def _scalar(value: str) -> str:
    """Return a value as YAML: plain where nothing in it could be taken for something else."""
    if _PLAIN.fullmatch(value) and not value.endswith(":"):
        return value
    return json.dumps(value, ensure_ascii=False)


def with_releases(text: str, component: str, added: Iterable[str]) -> str:
    """Return the text with releases added to a component, each after the next older one.

    The list is written anew in the file's own form: on one line if it fits, else wrapped.
    Raises ``InvalidDefinition`` when the component has no list ``releases: […]``, or one with
    comments in it.
    """
    pattern = re.compile(
        rf"^  {re.escape(component)}:[ \t]*(?:#.*)?\n(?:(?:    .*|[ \t]*#.*|[ \t]*)\n)*?"
        r"    releases:[ \t]*(?:\n[ \t]+)?(?P<list>\[[^\]#]*\])",
        re.MULTILINE,
    )
    found = pattern.search(text)
    if found is None:
        raise InvalidDefinition(
            f"the releases of {component} cannot be edited",
            where=_FILE,
            why="they do not stand in one list `releases: […]` without comments",
        )
    releases = re.findall(r"[^\s,\[\]\"']+", found["list"])
    for release in sorted(added, key=Version):
        if release in releases:
            continue
        older = [i for i, known in enumerate(releases) if Version(known) < Version(release)]
        releases.insert(older[-1] + 1 if older else 0, release)
    start = text.rindex("releases:", found.start(), found.end()) + len("releases:")
    return text[:start] + _written(releases) + text[found.end() :]


def _written(releases: list[str]) -> str:
    """Return the list with the space before it, as the file has such lists."""
    quoted = [f'"{release}"' for release in releases]
    line = f" [{', '.join(quoted)}]"
    if len("    releases:" + line) <= _WIDTH:
        return line
    rows, indent = [f"{' ' * 6}["], " " * 7
    for index, word in enumerate(quoted):
        piece = word + ("," if index + 1 < len(quoted) else "]")
        joined = f"{rows[-1]}{'' if rows[-1].endswith('[') else ' '}{piece}"
        if len(joined) > _WIDTH:
            rows.append(f"{indent}{piece}")
        else:
            rows[-1] = joined
    return "\n" + "\n".join(rows)
