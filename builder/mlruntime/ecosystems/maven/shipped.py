"""Which jars a source distribution has in it: Spark's, in that of PySpark."""

import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from mlruntime.errors import InvalidLock
from mlruntime.lock.packages import Artifact

# NAME-VERSION.jar, or NAME-VERSION-CLASSIFIER.jar: the version starts with the last digit that
# follows a dash, as in log4j-1.2-api-2.24.3.
_JAR: Final = re.compile(r"(?P<artifact>.+)-(?P<version>\d.*)\.jar")
_OWN_POM: Final = re.compile(r"META-INF/maven/([^/]+)/([^/]+)/pom\.properties")
# Larger than any of Spark's; of a larger jar, only the name is looked at.
_BYTES: Final = 256 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ShippedJar:
    """A jar that comes with Spark; its ``group`` is empty when it does not tell."""

    group: str
    artifact: str
    version: str


class ShippedJars:
    """The jars that come with Spark, by what a POM calls them."""

    def __init__(self, jars: Iterable[ShippedJar]) -> None:
        self._by_artifact: dict[str, list[ShippedJar]] = {}
        for jar in jars:
            self._by_artifact.setdefault(jar.artifact, []).append(jar)

    def beside(self, locked: Iterable[Artifact]) -> "ShippedJars":
        """Return these jars and others that are there too, by what their locked names say."""
        own = [jar for jars in self._by_artifact.values() for jar in jars]
        for artifact in locked:
            group, name = artifact.name.split(":")[:2]
            own.append(ShippedJar(group=group, artifact=name, version=artifact.version))
        return ShippedJars(own)

    def file(self, filename: str) -> ShippedJar | None:
        """Return which jar has this file name, ``None`` when no jar has it."""
        match = _JAR.fullmatch(filename)
        found = self._by_artifact.get(match["artifact"], ()) if match else ()
        return next((jar for jar in found if match and jar.version == match["version"]), None)

    def version(self, group: str, artifact: str) -> str | None:
        """Return which version there is of a project, ``None`` when there is none.

        A jar that does not tell its group stands for every group.
        """
        for jar in self._by_artifact.get(artifact, ()):
            if jar.group in ("", group):
                return jar.version
        return None


def read_shipped(sdist: Path, filename: str) -> tuple[ShippedJar, ...]:
    """Return the jars in directories called ``jars``, sorted.

    Raises ``InvalidLock`` for what is no archive.
    """
    found = []
    try:
        with tarfile.open(sdist) as archive:
            for info in archive:
                path = PurePosixPath(info.name)
                match = _JAR.fullmatch(path.name)
                if not match or not info.isreg() or path.parent.name != "jars":
                    continue
                file = archive.extractfile(info) if info.size <= _BYTES else None
                group = _group(file.read(), match["artifact"]) if file else ""
                found.append(
                    ShippedJar(group=group, artifact=match["artifact"], version=match["version"])
                )
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InvalidLock(f"{filename} is not a source distribution", why=str(error)) from None
    return tuple(sorted(found, key=lambda jar: (jar.artifact, jar.version)))


def _group(jar: bytes, artifact: str) -> str:
    """Return the group of a jar by the POM that Maven puts into it; many have none."""
    try:
        with zipfile.ZipFile(io.BytesIO(jar)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError):
        return ""
    poms = (match for name in names if (match := _OWN_POM.fullmatch(name)))
    return next((match[1] for match in poms if match[2] == artifact), "")


def shipped_to_json(jars: Iterable[ShippedJar]) -> list[list[str]]:
    """Return the JSON form."""
    return [[jar.group, jar.artifact, jar.version] for jar in jars]


def shipped_from_json(value: object) -> tuple[ShippedJar, ...]:
    """Return jars from their JSON form; anything else raises ``ValueError``."""
    if not isinstance(value, list):
        raise ValueError("not a list of jars")
    found = []
    for entry in value:
        if not (isinstance(entry, list) and [type(part) for part in entry] == [str] * 3):
            raise ValueError("not a jar")
        group, artifact, version = entry
        found.append(ShippedJar(group=group, artifact=artifact, version=version))
    return tuple(found)


NOTHING: Final = ShippedJars(())
