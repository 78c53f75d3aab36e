"""Jars that a flavour, or somebody, adds to what is locked: what can be told of them.

Core: no I/O.
"""

from collections.abc import Callable, Iterable

from mlruntime.ecosystems.maven.conflict import JarConflict
from mlruntime.ecosystems.maven.lines import JarLine, parse_jar
from mlruntime.ecosystems.maven.scala import refuse_other_scala
from mlruntime.ecosystems.maven.shipped import ShippedJars
from mlruntime.errors import InvalidDefinition
from mlruntime.lock.model import Lock
from mlruntime.locking.request import FlavourRequest

_SPARK, _HADOOP = "org.apache.spark", "org.apache.hadoop"
# One of Spark's own jars, which tells the version of Hadoop it was released with.
_HADOOP_CLIENT = "hadoop-client-api"


def refuse_other_jars(lock: Lock, lines: Iterable[JarLine]) -> None:
    """Raise for a jar for another Scala or Spark, or another version of one that is locked.

    Only the lock is looked at: this is before any registry is asked.
    """
    versions = lock.all_components
    locked = {
        jar.name: jar.version
        for part in (lock.whole(variant.name) for variant in lock.variants)
        for jar in part.jars
    }
    for line in lines:
        project = line.jar.project
        why = f"{lock.runtime} has Spark {versions.get('spark')}"
        refuse_other_scala(project.name, versions.get("scala", ""), why, line.where)
        spark = versions.get("spark", project.version)
        if project.group == _SPARK and project.version != spark:
            raise JarConflict(
                f"{project} is a part of Spark {project.version}",
                where=line.where,
                why=f"{why}, and its parts go with that version only",
                hint=f"write {project.name}:{spark}",
            )
        _refuse_moved(line, locked.get(line.jar.name), lock.runtime)


def new_jars(lines: Iterable[JarLine], shipped: ShippedJars, runtime: str) -> tuple[JarLine, ...]:
    """Return the jars that Spark does not have itself.

    Raises for another version of one that it has, and for another Hadoop than Spark's.
    """
    found = []
    for line in lines:
        project = line.jar.project
        has = None if line.jar.classifier else shipped.version(project.group, project.artifact)
        _refuse_moved(line, has, runtime)
        hadoop = shipped.version(_HADOOP, _HADOOP_CLIENT)
        if has is None and project.group == _HADOOP and hadoop not in (None, project.version):
            raise JarConflict(
                f"{project} is a part of Hadoop {project.version}",
                where=line.where,
                why=f"Spark has Hadoop {hadoop}, and Hadoop's parts go with one version only",
                hint=f"write {project.name}:{hadoop}",
            )
        if has is None:
            found.append(line)
    return tuple(found)


def jars_of_its_own(
    lock: Lock, flavour: FlavourRequest, shipped: Callable[[], ShippedJars]
) -> tuple[str, ...]:
    """Return the jars that a flavour of the runtime lists and Spark does not have.

    ``lock`` is what is below. Raises for a jar that cannot go with that, as for what is added.
    """
    if not flavour.jars or flavour.jar_requirements:
        return flavour.jars  # what somebody adds has been looked at
    where = f"runtimes/{lock.runtime}/runtime.yaml: flavours.{flavour.name}.jars"
    lines = tuple(parse_jar(text, where) for text in flavour.jars)
    refuse_other_jars(lock, lines)
    return tuple(line.text for line in new_jars(lines, shipped(), lock.runtime))


def _refuse_moved(line: JarLine, has: str | None, runtime: str) -> None:
    if has is not None and has != line.jar.project.version:
        raise InvalidDefinition(
            f"{line.text} is not the {line.jar.project.artifact} of {runtime}",
            where=line.where,
            why=f"the runtime has {has}, and what is added never moves it",
            hint="leave the line out",
        )
