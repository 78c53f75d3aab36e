"""Jars from a repository in Maven's layout, with those of their dependencies Spark lacks."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from mlruntime.ecosystems.maven import ORIGIN
from mlruntime.ecosystems.maven.closure import Jar, needed
from mlruntime.ecosystems.maven.locator import maven_url
from mlruntime.ecosystems.maven.pom import Coordinates, Pom, Projects, parse_pom
from mlruntime.ecosystems.maven.shipped import NOTHING, ShippedJars
from mlruntime.errors import ArtifactNotFound, HashMismatch, InvalidDefinition
from mlruntime.host.settings import without_secrets
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store, file_sha256

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedJars:
    """Jars, sorted by name, and a sentence for each of which somebody wants a newer version."""

    artifacts: tuple[Artifact, ...]
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MavenRepository:
    """A Maven repository by its address, reached through ``web``; jars go into ``store``."""

    url: str
    web: "Web"
    store: Store
    _jars: dict[Jar, Artifact] = field(default_factory=dict, init=False)
    _poms: dict[Coordinates, Pom] = field(default_factory=dict, init=False)

    def closure(
        self,
        wanted: Iterable[tuple[str, str]],
        shipped: Callable[[], ShippedJars] = lambda: NOTHING,
        scala: str = "",
        excluding: Mapping[str, Iterable[str]] = MappingProxyType({}),
    ) -> LockedJars:
        """Return jars (``group:artifact``, version) and what they need that Spark does not ship.

        A classifier may follow the artifact. ``shipped`` is asked only when a jar needs another
        one; ``excluding`` is what ``needed`` takes. Raises ``ArtifactNotFound`` when the repository
        lacks one of them, and what ``needed`` raises; no jar is fetched before all are known.
        """
        roots = [_root(name, version) for name, version in dict.fromkeys(wanted)]
        found = needed(roots, Projects(self._pom), shipped, scala, excluding)
        artifacts = tuple(self._jar(jar) for jar in found.jars)
        return LockedJars(artifacts=artifacts, conflicts=found.conflicts)

    def _jar(self, jar: Jar) -> Artifact:
        if jar not in self._jars:
            self._jars[jar] = self._fetched(jar)
        return self._jars[jar]

    def _fetched(self, jar: Jar) -> Artifact:
        project = jar.project
        url = maven_url(self.url, project.name, project.version, jar.filename)
        with self.store.scratch() as scratch:
            path = scratch / "jar"
            if not self.web.download(url, path, grown=lambda _: None, size=None, part="maven"):
                raise _absent(project, jar.filename)
            self._verify(path, jar.filename, url)
            size, sha256 = path.stat().st_size, file_sha256(path)
            self.store.adopt_blob(path, sha256)
        return Artifact(
            kind="jar",
            name=jar.name,
            version=project.version,
            filename=jar.filename,
            size=size,
            sha256=sha256,
            origin=ORIGIN,
        )

    def _verify(self, path: Path, filename: str, url: str) -> None:
        """Compare with the strongest checksum file the repository has beside the jar."""
        for kind in ("sha512", "sha256", "sha1"):
            answer = self.web.text(f"{url}.{kind}", part="maven")
            if answer is None:
                continue
            told = answer[2].split()[0].lower() if answer[2].split() else ""
            with path.open("rb") as handle:
                found = hashlib.file_digest(handle, kind).hexdigest()
            if told != found:
                raise HashMismatch(
                    f"{filename} does not match its repository's checksum",
                    where=without_secrets(url),
                    why=f"its .{kind} says {told or 'nothing'}, its bytes have {found}",
                    hint="try again; if the error stays, the repository or a proxy is broken",
                )
            return

    def _pom(self, project: Coordinates) -> Pom:
        if project not in self._poms:
            filename = f"{project.artifact}-{project.version}.pom"
            url = maven_url(self.url, project.name, project.version, filename)
            answer = self.web.text(url, part="maven")
            if answer is None:
                raise _absent(project, filename)
            self._poms[project] = parse_pom(answer[2], file=filename)
        return self._poms[project]


def _root(name: str, version: str) -> Jar:
    group, *artifact = name.split(":")
    if not group or not 1 <= len(artifact) <= 2 or not all(artifact):
        raise InvalidDefinition(
            f"{name!r} is not a jar of a Maven repository",
            where="matrix.yaml: components.….artifacts",
            hint="write it as GROUP:ARTIFACT",
        )
    project = Coordinates(group=group, artifact=artifact[0], version=version)
    return Jar(project=project, classifier="".join(artifact[1:]))


def _absent(project: Coordinates, filename: str) -> ArtifactNotFound:
    return ArtifactNotFound(
        f"the Maven repository does not have {project} ({filename})",
        hint="set MLRUNTIME_MAVEN_REPOSITORY to a repository that has it",
    )
