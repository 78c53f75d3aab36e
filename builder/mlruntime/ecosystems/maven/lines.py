"""Files that list jars: ``group:artifact:version``, one a line. Core: text in, values out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mlruntime.ecosystems.maven.closure import Jar
from mlruntime.ecosystems.maven.pom import Coordinates
from mlruntime.ecosystems.maven.versions import is_range
from mlruntime.errors import InvalidDefinition

_COMMENT: Final = re.compile(r"(^|\s)#.*$")
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
# No coordinates are that long.
_LONGEST: Final = 500
# Versions that mean another one tomorrow.
_MOVING: Final = ("latest", "release")
_PUBLISH: Final = "publish it in a Maven repository of yours, and ask for it by its coordinates"


@dataclass(frozen=True, kw_only=True, slots=True)
class JarLine:
    """One jar that is asked for, and ``where`` that stands (FILE:NUMBER)."""

    jar: Jar
    where: str

    @property
    def text(self) -> str:
        """Return the line as a file has it."""
        return ":".join(filter(None, (str(self.jar.project), self.jar.classifier)))


def parse_jars(text: str, *, file: str) -> tuple[JarLine, ...]:
    """Read such a file; raises ``InvalidDefinition`` with the line of what cannot be locked.

    A jar may be named once only.
    """
    lines = (
        (_COMMENT.sub("", raw).strip(), f"{file}:{number}")
        for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1)
    )
    found = one_of_each(parse_jar(words, where) for words, where in lines if words)
    if not found:
        raise InvalidDefinition("no jar is asked for", where=file)
    return found


def one_of_each(lines: Iterable[JarLine]) -> tuple[JarLine, ...]:
    """Return the lines; raises ``InvalidDefinition`` if two are about one jar."""
    found: dict[str, JarLine] = {}
    for line in lines:
        before = found.setdefault(line.jar.name, line)
        if before is not line:
            raise InvalidDefinition(
                f"{line.jar.name} is asked for twice",
                where=line.where,
                why=f"the first time at {before.where}",
                hint="leave one of the lines out",
            )
    return tuple(found.values())


def parse_jar(words: str, where: str) -> JarLine:
    """Read one jar's coordinates; raises ``InvalidDefinition`` for what cannot be locked."""
    return JarLine(jar=_jar(words, where), where=where)


def _jar(words: str, where: str) -> Jar:
    if len(words) > _LONGEST:
        raise InvalidDefinition(f"a line of {len(words)} characters is no jar", where=where)
    if "://" in words:
        raise InvalidDefinition(
            f"{words} is a URL", where=where, why="only jars of a repository can be locked",
            hint=_PUBLISH,
        )  # fmt: skip
    if words.startswith((".", "/", "~")) or words.lower().endswith(".jar"):
        raise InvalidDefinition(
            f"{words} is a file", where=where, why="another machine does not have it",
            hint=_PUBLISH,
        )  # fmt: skip
    parts = [part.strip() for part in words.split(":")]
    if len(parts) not in (3, 4) or not all(map(_PART.fullmatch, (*parts[:2], *parts[3:]))):
        raise InvalidDefinition(
            f"{words!r} is no jar of a repository",
            where=where,
            hint="write GROUP:ARTIFACT:VERSION, such as io.delta:delta-spark_2.13:4.0.0;"
            " a classifier may follow",
        )
    version = parts[2]
    _refuse_moving(version, where)
    project = Coordinates(group=parts[0], artifact=parts[1], version=version)
    return Jar(project=project, classifier="".join(parts[3:]))


def _refuse_moving(version: str, where: str) -> None:
    """Raise ``InvalidDefinition`` for what is not one version that stays as it is."""
    moves = version.lower() in _MOVING or version.upper().endswith("-SNAPSHOT")
    if moves or is_range(version) or not _PART.fullmatch(version):
        raise InvalidDefinition(
            f"{version!r} is not the version of a release",
            where=where,
            why="a lock has one file for it, and that must stay what it is",
            hint="write one version, such as 4.0.0",
        )
