"""Class data: classes as a JVM of the image has them when they are loaded, in an archive. No I/O.

A JVM that is given the archive maps it into memory instead of reading, checking and linking some
ten thousand classes; where it does not fit, the JVM starts as it always did, only more slowly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Below the directory of settings: a volume that every node of a cluster has.
NAME: Final = "class-data"
FOLDER: Final = f"/etc/spark/{NAME}"
ARCHIVE: Final = "spark.jsa"
OPTIONS: Final = (
    f"-XX:SharedArchiveFile={FOLDER}/{ARCHIVE}",
    # At the address that it was made for: moved to another, all of it is changed and so copied,
    # which takes each JVM 100 MB and as long again as it takes to start.
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:ArchiveRelocationMode=0",
    # Newer JVMs warn on stdout, which is the program's, when an archive does not fit. Who wants to
    # know asks `cluster doctor`.
    "-Xlog:cds=off",
    "-Xlog:class+path=off",
)
_ROLES: Final = ("driver", "executor")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassData:
    """An image's class data: what it is known by, and its files by name."""

    key: str
    files: Mapping[str, Path]


def jar_of(key: str) -> str:
    """Return the jar's name, which says which image the archive was made for.

    A JVM compares only the paths, sizes and times of jars, so the path must tell images apart.
    """
    return f"spark-{key[:16]}.jar"


def files_of(key: str) -> tuple[str, str]:
    """Return the names of its files: the jar with which a class path begins, and the archive."""
    return jar_of(key), ARCHIVE


def daemon_environment(options: str, key: str) -> dict[str, str]:
    """Return what masters, workers and history servers need; ``options`` are their other ones."""
    return {
        "SPARK_DAEMON_CLASSPATH": f"{FOLDER}/{jar_of(key)}",
        "SPARK_DAEMON_JAVA_OPTS": " ".join((options, *OPTIONS)),
    }


def application_settings(defaults: str, key: str) -> dict[str, str]:
    """Return what drivers and executors need, added to what an image's ``defaults`` say."""
    known = _properties(defaults)
    found: dict[str, str] = {}
    for role in _ROLES:
        name = f"spark.{role}.defaultJavaOptions"
        found[name] = " ".join((*known.get(name, "").split(), *OPTIONS))
        found[f"spark.{role}.extraClassPath"] = f"{FOLDER}/{jar_of(key)}"
    return found


def _properties(text: str) -> Mapping[str, str]:
    """Return a file of properties, as the image's own are written: a key, spaces, a value."""
    lines = (line.split(None, 1) for line in text.splitlines() if not line.startswith("#"))
    return {words[0]: words[1].strip() for words in lines if len(words) == 2}
