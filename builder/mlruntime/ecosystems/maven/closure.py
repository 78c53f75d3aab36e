"""What some jars need beside them: Maven's mediation, less what Spark brings. Core: no I/O."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from mlruntime.ecosystems.maven.conflict import JarConflict
from mlruntime.ecosystems.maven.pom import Coordinates, Dependency, Projects
from mlruntime.ecosystems.maven.scala import refuse_other_scala
from mlruntime.ecosystems.maven.shipped import ShippedJars
from mlruntime.ecosystems.maven.versions import allows, exactly, is_range, maven_order

_FOLLOWED: Final = ("compile", "runtime")
# What is a jar although it is called otherwise.
_JARS: Final = ("jar", "bundle", "ejb", "ejb-client", "maven-plugin", "test-jar")
_ASKED: Final = "what was asked for"


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
    by: str = _ASKED
    is_jar: bool = True

    @property
    def jar(self) -> Jar:
        return Jar(project=self.project, classifier=self.classifier)


def needed(
    wanted: Iterable[Jar],
    projects: Projects,
    shipped: Callable[[], ShippedJars],
    scala: str = "",
    excluding: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> Needed:
    """Follow the dependencies of what is wanted, in its order.

    Of scopes, ``compile`` and ``runtime`` are followed; optional dependencies and exclusions are
    left out; of two versions the nearer one wins, and of two as near the first. What is
    ``shipped`` with Spark is not taken again, whatever its version. A range of versions is held
    to, and never chosen from. ``excluding`` are exclusions (``GROUP:ARTIFACT``, either of which may
    be ``*``) for some of the jars that are wanted, by name.

    Raises ``JarConflict`` for a range that cannot be held to, and for a jar for another Scala than
    ``scala`` ("2.13"), if that is told.
    """
    found: dict[str, tuple[Jar, bool]] = {}
    conflicts = _Conflicts()
    ahead = deque(
        _Step(
            project=jar.project,
            classifier=jar.classifier,
            excluded=frozenset(map(_pair, excluding.get(jar.name, ()))),
        )
        for jar in wanted
    )
    while ahead:
        step = ahead.popleft()
        # Of what Spark ships, not even the POM is read: a repository may not have it.
        if step.by != _ASKED and _is_shipped(step, step.project, shipped(), conflicts):
            continue
        refuse_other_scala(step.jar.project.name, scala, f"{step.by} needs it")
        if step.jar.name in found:
            _refuse_outside(step, found[step.jar.name][0].project.version)
        if is_range(step.project.version):
            if step.jar.name in found:
                continue
            step = _pinned(step)
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


def _pair(exclusion: str) -> tuple[str, str]:
    group, _, artifact = exclusion.partition(":")
    return group, artifact


def _is_shipped(
    step: _Step, project: Coordinates, shipped: ShippedJars, conflicts: "_Conflicts"
) -> bool:
    there = shipped.version(project.group, project.artifact)
    if there is not None:
        jar = Jar(project=project, classifier=step.classifier)
        conflicts.note(jar, there, step.by, "Spark's own")
    return there is not None


def _refuse_outside(step: _Step, used: str) -> None:
    if not allows(step.project.version, used):
        raise JarConflict(
            f"{step.by} needs {step.jar.name} {step.project.version}, and {used} is nearer",
            why="Maven accepts only a version in the range",
            hint=f"ask for a version of {step.jar.name} that is in it",
        )


def _pinned(step: _Step) -> _Step:
    """Return the step with the one version that its range allows."""
    version = exactly(step.project.version)
    if version is None:
        raise JarConflict(
            f"{step.by} asks for a range of versions of {step.jar.name}: {step.project.version}",
            why="what a range means changes with every release, and a lock must not",
            hint=f"ask for {step.jar.name} too, in a version of your choice",
        )
    return replace(step, project=replace(step.project, version=version))


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
        requested = jar.project.version
        newer = not is_range(requested) and maven_order(requested) > maven_order(used)
        if newer or not allows(requested, used):
            self._found.setdefault((jar.name, used, whose), []).append((requested, by))

    def sentences(self) -> Iterator[str]:
        for (name, used, whose), askers in sorted(self._found.items()):
            requested, by = max(askers, key=lambda pair: maven_order(pair[0]))
            others = len({asker for _, asker in askers}) - 1
            more = f" and {others} more" if others else ""
            yield f"{name}: {used} is used ({whose}), {requested} was asked for by {by}{more}"
