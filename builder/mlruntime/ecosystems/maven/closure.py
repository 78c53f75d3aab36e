"""What some jars need beside them: Maven's mediation, less what Spark brings. Core: no I/O."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mlruntime.ecosystems.maven.pom import Coordinates, Dependency, Projects
from mlruntime.ecosystems.maven.shipped import ShippedJars

_FOLLOWED: Final = ("compile", "runtime")
# What is a jar although it is called otherwise.
_JARS: Final = ("jar", "bundle", "ejb", "maven-plugin")
_THE_MATRIX: Final = "the matrix"


@dataclass(frozen=True, kw_only=True, slots=True)
class Jar:
    """A jar to be had: its project, and a classifier if it is not the project's main one."""

    project: Coordinates
    classifier: str = ""

    @property
    def name(self) -> str:
        """Return ``group:artifact``, and the classifier if there is one."""
        return ":".join(filter(None, (self.project.name, self.classifier)))

    @property
    def filename(self) -> str:
        """Return the name of its file in a repository."""
        parts = (self.project.artifact, self.project.version, self.classifier)
        return "-".join(filter(None, parts)) + ".jar"


@dataclass(frozen=True, kw_only=True, slots=True)
class Needed:
    """The jars that are needed, sorted by name, and where an older one is used than was asked."""

    jars: tuple[Jar, ...]
    conflicts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    project: Coordinates
    classifier: str = ""
    excluded: frozenset[tuple[str, str]] = frozenset()
    by: str = _THE_MATRIX
    is_jar: bool = True


def needed(
    wanted: Iterable[Coordinates], projects: Projects, shipped: Callable[[], ShippedJars]
) -> Needed:
    """Follow the dependencies of what is wanted.

    Of scopes, ``compile`` and ``runtime`` are followed; optional dependencies and exclusions are
    left out; of two versions the nearer one wins, and of two as near the first. What is
    ``shipped`` with Spark is not taken again, whatever its version.
    """
    found: dict[str, tuple[Jar, bool]] = {}
    conflicts = _Conflicts()
    ahead = deque(_Step(project=project) for project in wanted)
    while ahead:
        step = ahead.popleft()
        # Of what Spark ships, not even the POM is read: a repository may not have it.
        if step.by != _THE_MATRIX and _is_shipped(step, step.project, shipped(), conflicts):
            continue
        project = projects.relocated(step.project)
        jar = Jar(project=project, classifier=step.classifier)
        if jar.name in found:
            conflicts.note(jar, found[jar.name][0].project.version, step.by, "the nearest")
            continue
        if project != step.project and _is_shipped(step, project, shipped(), conflicts):
            continue
        found[jar.name] = jar, step.is_jar and projects.has_jar(project)
        ahead.extend(_steps(project, step.excluded, projects))
    jars = sorted((jar for jar, is_jar in found.values() if is_jar), key=lambda jar: jar.name)
    return Needed(jars=tuple(jars), conflicts=tuple(conflicts.sentences()))


def _is_shipped(
    step: _Step, project: Coordinates, shipped: ShippedJars, conflicts: "_Conflicts"
) -> bool:
    there = shipped.version(project.group, project.artifact)
    if there is not None:
        jar = Jar(project=project, classifier=step.classifier)
        conflicts.note(jar, there, step.by, "Spark's own")
    return there is not None


def _steps(
    project: Coordinates, excluded: frozenset[tuple[str, str]], projects: Projects
) -> Iterator[_Step]:
    for one in projects.dependencies(project):
        if one.scope not in _FOLLOWED or one.optional or _is_excluded(one, excluded):
            continue
        if one.kind in (*_JARS, "pom"):
            yield _Step(
                project=one.coordinates,
                classifier=one.classifier,
                excluded=excluded | one.exclusions,
                by=str(project),
                is_jar=one.kind != "pom",
            )


def _is_excluded(one: Dependency, excluded: frozenset[tuple[str, str]]) -> bool:
    return any(
        group in ("*", one.group) and artifact in ("*", one.artifact)
        for group, artifact in excluded
    )


class _Conflicts:
    """Where somebody asks for a newer version than the one that is used."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}

    def note(self, jar: Jar, used: str, by: str, whose: str) -> None:
        asked = jar.project.version
        if maven_order(asked) > maven_order(used):
            self._found.setdefault((jar.name, used, whose), []).append((asked, by))

    def sentences(self) -> Iterator[str]:
        for (name, used, whose), askers in sorted(self._found.items()):
            asked, by = max(askers, key=lambda pair: maven_order(pair[0]))
            others = len({asker for _, asker in askers}) - 1
            more = f" and {others} more" if others else ""
            yield f"{name}: {used} is used ({whose}), {asked} was asked for by {by}{more}"


def maven_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """Return what Maven's versions are compared by: numbers as numbers, words before numbers.

    Enough to tell which of two releases is newer; qualifiers are compared as words.
    """
    parts = re.findall(r"\d+|[a-z]+", version.lower())
    return tuple((1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts)
