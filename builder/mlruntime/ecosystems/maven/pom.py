"""POMs: what a Maven project says of its dependencies, with what its parents say. Core: no I/O.

The rules are Maven's own (https://maven.apache.org/guides/introduction/
introduction-to-dependency-mechanism.html): properties and managed versions are inherited, a child's
before its parent's, and a BOM of scope ``import`` adds managed versions. Profiles are left out:
which of them are active depends on the host.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from xml.etree.ElementTree import Element

from mlruntime.ecosystems.maven.xml import UnreadableXml, read_xml
from mlruntime.errors import Unavailable

# Deeper than any that is published; two projects that are each other's parent would never end.
_GENERATIONS: Final = 20
_GAV: Final = ("groupId", "artifactId", "version")
_PROPERTY: Final = re.compile(r"\$\{([^}]+)\}")
# A property may name others twice, and so on: none that is meant is that long.
_LONGEST: Final = 1000
# What a type stands for, where a dependency does not say its classifier itself.
_CLASSIFIERS: Final = {
    "test-jar": "tests",
    "java-source": "sources",
    "javadoc": "javadoc",
    "ejb-client": "client",
}


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Coordinates:
    """One project of a repository: ``group:artifact`` in some version."""

    group: str
    artifact: str
    version: str

    @property
    def name(self) -> str:
        """Return ``group:artifact``."""
        return f"{self.group}:{self.artifact}"

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependency:
    """What a project needs, as it says; what it leaves to others to say is empty.

    ``exclusions`` are (group, artifact), each possibly ``*``.
    """

    group: str
    artifact: str
    version: str = ""
    scope: str = ""
    kind: str = "jar"
    classifier: str = ""
    optional: bool = False
    exclusions: frozenset[tuple[str, str]] = frozenset()

    @property
    def name(self) -> str:
        """Return ``group:artifact``, and the classifier if there is one."""
        return ":".join(filter(None, (self.group, self.artifact, self.classifier)))

    @property
    def managed_by(self) -> tuple[str, str, str, str]:
        """Return what a managed version is found by."""
        return self.group, self.artifact, self.kind, self.classifier

    @property
    def coordinates(self) -> Coordinates:
        """Return the project, its version being known."""
        return Coordinates(group=self.group, artifact=self.artifact, version=self.version)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pom:
    """A project's own POM, nothing inherited and nothing filled in."""

    parent: Coordinates | None
    properties: Mapping[str, str]
    managed: tuple[Dependency, ...]
    dependencies: tuple[Dependency, ...]
    packaging: str
    relocation: tuple[str, str, str] | None


def parse_pom(text: str, *, file: str) -> Pom:
    """Read a POM; one that is no XML, or no POM, raises ``Unavailable`` with its file."""
    try:
        top = read_xml(text)
    except UnreadableXml as error:
        raise Unavailable(f"{file} cannot be read", why=str(error)) from None
    if top.tag != "project":
        raise Unavailable(f"{file} cannot be read", why=f"it is a <{top.tag}>, not a <project>")
    parent = top.find("parent")
    above = _coordinates(parent) if parent is not None else None
    own = {
        entry.tag: value
        for entry in top.iterfind("properties/*")
        if len(value := (entry.text or "").strip()) <= _LONGEST
    }
    for tag in _GAV:
        inherited = {"groupId": above.group, "version": above.version} if above else {}
        value = _text(top, tag) or inherited.get(tag, "")
        own |= {f"project.{tag}": value, f"pom.{tag}": value}
    if above:
        for name, value in zip(_GAV, (above.group, above.artifact, above.version), strict=True):
            own |= {f"project.parent.{name}": value}
    moved = top.find("distributionManagement/relocation")
    managed = top.iterfind("dependencyManagement/dependencies/dependency")
    return Pom(
        parent=above,
        properties=own,
        managed=tuple(_dependency(node) for node in managed),
        dependencies=tuple(_dependency(node) for node in top.iterfind("dependencies/dependency")),
        packaging=_text(top, "packaging") or "jar",
        relocation=None
        if moved is None
        else (_text(moved, "groupId"), _text(moved, "artifactId"), _text(moved, "version")),
    )


def _dependency(node: Element) -> Dependency:
    return Dependency(
        group=_text(node, "groupId"),
        artifact=_text(node, "artifactId"),
        version=_text(node, "version"),
        scope=_text(node, "scope"),
        kind=_text(node, "type") or "jar",
        classifier=_text(node, "classifier"),
        optional=_text(node, "optional") == "true",
        exclusions=frozenset(
            (_text(one, "groupId"), _text(one, "artifactId") or "*")
            for one in node.iterfind("exclusions/exclusion")
        ),
    )


def _coordinates(node: Element) -> Coordinates:
    return Coordinates(
        group=_text(node, "groupId"),
        artifact=_text(node, "artifactId"),
        version=_text(node, "version"),
    )


def _text(node: Element, tag: str) -> str:
    return node.findtext(tag, "").strip()


class Projects:
    """The effective POMs of a repository; ``read`` returns a project's own, each asked for once."""

    def __init__(self, read: Callable[[Coordinates], Pom]) -> None:
        self._read = read
        self._own: dict[Coordinates, Pom] = {}
        self._managed: dict[Coordinates, dict[tuple[str, str, str, str], Dependency]] = {}

    def relocated(self, project: Coordinates) -> Coordinates:
        """Return where a project has gone to, itself if it has not."""
        for _ in range(_GENERATIONS):
            moved = self._pom(project).relocation
            if moved is None:
                return project
            group, artifact, version = moved
            project = Coordinates(
                group=group or project.group,
                artifact=artifact or project.artifact,
                version=version or project.version,
            )
        raise Unavailable(f"{project} has been relocated in a circle")

    def has_jar(self, project: Coordinates) -> bool:
        """Return whether a project is more than a POM."""
        return self._pom(project).packaging != "pom"

    def dependencies(self, project: Coordinates) -> Iterator[Dependency]:
        """Yield a project's dependencies as they are in effect.

        Raises ``Unavailable`` for one whose version nobody says.
        """
        lineage = self._lineage(project)
        properties = _properties(lineage)
        managed = self._managed_of(project)
        seen = set()
        for pom in lineage:
            for found in pom.dependencies:
                one = _filled(found, properties)
                if one.managed_by in seen:
                    continue
                seen.add(one.managed_by)
                yield _settled(one, managed.get(one.managed_by), project)

    def _pom(self, project: Coordinates) -> Pom:
        if project not in self._own:
            self._own[project] = self._read(project)
        return self._own[project]

    def _lineage(self, project: Coordinates) -> list[Pom]:
        """Return a project's POM and those of its parents, the nearest first."""
        found = [self._pom(project)]
        while (parent := found[-1].parent) is not None:
            if len(found) == _GENERATIONS:
                raise Unavailable(f"{project} has too many parents, or a circle of them")
            found.append(self._pom(parent))
        return found

    def _managed_of(
        self, project: Coordinates, depth: int = 0
    ) -> dict[tuple[str, str, str, str], Dependency]:
        """Return what a project manages: its own first, then its parents', BOMs at their place."""
        if project in self._managed:
            return self._managed[project]
        if depth == _GENERATIONS:
            raise Unavailable(f"{project} imports BOMs in a circle")
        lineage = self._lineage(project)
        properties = _properties(lineage)
        found: dict[tuple[str, str, str, str], Dependency] = {}
        imported = []
        for pom in lineage:
            for entry in pom.managed:
                one = _filled(entry, properties)
                if one.scope == "import" and one.kind == "pom":
                    imported.append(one.coordinates)
                else:
                    found.setdefault(one.managed_by, one)
        for bom in imported:
            for key, one in self._managed_of(bom, depth + 1).items():
                found.setdefault(key, one)
        self._managed[project] = found
        return found


def _properties(lineage: list[Pom]) -> dict[str, str]:
    """Return the properties in effect: a child's hide its parents', the project is the child."""
    found: dict[str, str] = {}
    for pom in reversed(lineage):
        found |= pom.properties
    # Without a prefix: obsolete, and in many old POMs. Properties of that name come first.
    project = {name: lineage[0].properties[f"project.{name}"] for name in _GAV}
    above = {
        f"parent.{name}": found[key] for name in _GAV if (key := f"project.parent.{name}") in found
    }
    return project | above | found


def _filled(one: Dependency, properties: Mapping[str, str]) -> Dependency:
    def fill(text: str) -> str:
        for _ in range(_GENERATIONS):  # a property may name another one
            filled = _PROPERTY.sub(lambda m: properties.get(m[1], m[0]), text)
            if filled == text or len(filled) > _LONGEST:
                break
            text = filled
        return text

    return replace(
        one,
        group=fill(one.group),
        artifact=fill(one.artifact),
        version=fill(one.version),
        scope=fill(one.scope),
        kind=fill(one.kind),
        classifier=fill(one.classifier),
        exclusions=frozenset((fill(group), fill(artifact)) for group, artifact in one.exclusions),
    )


def _settled(one: Dependency, managed: Dependency | None, of: Coordinates) -> Dependency:
    """Return a dependency with what is managed filled in where it says nothing itself."""
    if managed is not None:
        one = replace(
            one,
            version=one.version or managed.version,
            scope=one.scope or managed.scope,
            exclusions=one.exclusions or managed.exclusions,
            optional=one.optional or managed.optional,
        )
    one = replace(
        one,
        scope=one.scope or "compile",
        classifier=one.classifier or _CLASSIFIERS.get(one.kind, ""),
    )
    followed = one.scope in ("compile", "runtime") and not one.optional
    if followed and (not one.version or "${" in one.version):
        raise Unavailable(f"{of} names {one.name} without a version", why=_said(one))
    return one


def _said(one: Dependency) -> str:
    return (
        f"it says {one.version!r}, and nobody above it says more"
        if one.version
        else ("neither it nor its parents say one")
    )
