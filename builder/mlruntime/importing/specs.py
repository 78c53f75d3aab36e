"""Conda's match specifications, as far as they can be said in PEP 440's terms. Core."""

import re
from dataclasses import dataclass
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet

_NAME: Final = re.compile(r"(?:(?P<channel>[^\s:]+)::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)")
# Spaces around what stands between versions mean nothing.
_AROUND: Final = re.compile(r"\s*(,|[<>=!~]=?)\s*")
_CLAUSE: Final = re.compile(
    r"(?P<operator>[<>=!~]=?|)(?P<version>[0-9A-Za-z][0-9A-Za-z.!+_*-]*|\*)"
)
_EXACT: Final = re.compile(r"==?(?P<version>[^=<>!~,|\s*]+)=(?P<build>[^=<>!~,|\s]+)")
_LONGEST: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """A match specification: ``specifier`` is PEP 440's, ``None`` where that has no words for it.

    ``text`` is the specification without its channel, as rattler reads it.
    """

    name: str
    text: str
    specifier: str | None
    build: str = ""
    channel: str = ""


def read_spec(text: str) -> Spec | None:
    """Return what a match specification says, ``None`` for what is none."""
    words = text.strip()
    found = _NAME.match(words)
    if found is None or len(words) > _LONGEST or not words.isprintable():
        return None
    name, rest = found["name"].lower(), words[found.end() :].strip()
    if rest and rest[0].isalpha():  # `a b` is no version
        return None
    versions, build = _parts(rest)
    return Spec(
        name=name,
        text=f"{name} {rest}" if rest else name,
        specifier=_specifier(versions),
        build=build,
        channel=found["channel"] or "",
    )


def _parts(rest: str) -> tuple[str, str]:
    """Return the versions and the build."""
    tight = _AROUND.sub(r"\1", rest)
    if exact := _EXACT.fullmatch(tight):
        return f"=={exact['version']}", exact["build"]
    versions, _, build = tight.partition(" ")
    return versions, build.strip()


def _specifier(versions: str) -> str | None:
    if versions in ("", "*"):
        return ""
    clauses = [_clause(part) for part in versions.split(",")]
    if None in clauses:
        return None
    try:
        return str(SpecifierSet(",".join(clause for clause in clauses if clause)))
    except InvalidSpecifier:
        return None


def _clause(text: str) -> str | None:
    found = _CLAUSE.fullmatch(text)
    if found is None:
        return None
    operator, version = found["operator"], found["version"]
    if version == "*":
        return "" if operator in ("", "=", "==") else None
    starred = version.endswith("*")
    bare = version.rstrip("*").rstrip(".")
    if operator == "=" or (starred and operator in ("", "==")):
        return f"=={bare}.*"  # conda's `=` is any that begins so
    if starred:
        return f"!={bare}.*" if operator == "!=" else f"{operator}{bare}"
    return f"{operator or '=='}{version}"
