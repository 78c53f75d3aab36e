"""Jars from a repository in Maven's layout, with those of their dependencies Spark lacks."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from mlruntime.errors import ArtifactNotFound, HashMismatch, Unavailable
from mlruntime.fetch.downloads import maven_url
from mlruntime.fetch.web import Web
from mlruntime.host.settings import without_secrets
from mlruntime.lock.model import Artifact
from mlruntime.store.store import Store, file_sha256

# Spark's own distribution has everything else that such a jar may want.
_PROVIDED_SCOPES = ("provided", "test", "system", "import")


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A Maven repository by its address, reached through ``web``; jars go into ``store``."""

    url: str
    web: Web
    store: Store

    def closure(self, name: str, version: str) -> tuple[Artifact, ...]:
        """Return the jar ``group:artifact`` and the jars of its own group that it needs.

        Dependencies of other groups are Spark's to provide. Raises ``ArtifactNotFound`` when the
        repository lacks one of them.
        """
        found: dict[str, Artifact] = {}
        ahead = [(name, version)]
        while ahead:
            name, version = ahead.pop()
            if name in found:
                continue
            found[name] = self._jar(name, version)
            ahead += self._dependencies(name, version)
        return tuple(sorted(found.values(), key=lambda a: a.name))

    def _jar(self, name: str, version: str) -> Artifact:
        filename = f"{name.partition(':')[2]}-{version}.jar"
        url = maven_url(self.url, name, version, filename)
        with self.store.scratch() as scratch:
            path = scratch / filename
            if not self.web.download(url, path, grown=lambda _: None, size=None, part="maven"):
                raise _absent(name, version, filename)
            self._verify(path, url)
            size, sha256 = path.stat().st_size, file_sha256(path)
            self.store.adopt_blob(path, sha256)
        return Artifact(
            kind="jar",
            name=name,
            version=version,
            filename=filename,
            size=size,
            sha256=sha256,
            origin="maven",
        )

    def _verify(self, path: Path, url: str) -> None:
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
                    f"{path.name} is not what its repository says it is",
                    where=without_secrets(url),
                    why=f"its .{kind} says {told or 'nothing'}, its bytes have {found}",
                    hint="try again; if it stays so, the repository or a proxy is broken",
                )
            return

    def _dependencies(self, name: str, version: str) -> list[tuple[str, str]]:
        group, _, artifact = name.partition(":")
        filename = f"{artifact}-{version}.pom"
        url = maven_url(self.url, name, version, filename)
        answer = self.web.text(url, part="maven")
        if answer is None:
            raise _absent(name, version, filename)
        try:
            top = ElementTree.fromstring(answer[2])
        except ElementTree.ParseError as error:
            raise Unavailable(f"{filename} cannot be read", why=str(error)) from None
        own = {"project.version": version, "project.groupId": group}
        own |= {_bare(entry.tag): entry.text or "" for entry in top.iterfind("{*}properties/*")}
        nodes = top.iterfind("{*}dependencies/{*}dependency")
        return [found for node in nodes if (found := _needed(node, own, group, filename))]


def _needed(
    node: ElementTree.Element, values: dict[str, str], group: str, pom: str
) -> tuple[str, str] | None:
    """Return (``group:artifact``, version) of a dependency that must be locked too."""

    def field(tag: str) -> str:
        text = node.findtext(f"{{*}}{tag}", "").strip()
        return re.sub(r"\$\{([^}]+)\}", lambda m: values.get(m[1], m[0]), text)

    if field("groupId") != group or field("scope") in _PROVIDED_SCOPES:
        return None
    if field("optional") == "true":
        return None
    if not field("version") or "$" in field("version"):
        raise Unavailable(f"{pom} names {field('artifactId')} without a version of its own")
    return f"{group}:{field('artifactId')}", field("version")


def _bare(tag: str) -> str:
    return tag.rpartition("}")[2]


def _absent(name: str, version: str, filename: str) -> ArtifactNotFound:
    return ArtifactNotFound(
        f"the Maven repository does not have {name}:{version} ({filename})",
        hint="set MLRUNTIME_MAVEN_REPOSITORY to a repository that has it",
    )
