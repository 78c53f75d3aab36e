"""Which Scala a jar is compiled for: its artifact says so. Core: no I/O."""

import re
from typing import Final

from mlruntime.ecosystems.maven.conflict import JarConflict

_SUFFIX: Final = re.compile(r".+_(2\.\d+|3)(?:\.\d+\S*)?")


def scala_of(artifact: str) -> str | None:
    """Return the Scala that an artifact is compiled for ("2.13"), ``None`` if it does not say."""
    found = _SUFFIX.fullmatch(artifact)
    return found[1] if found else None


def refuse_other_scala(name: str, scala: str, why: str, where: str | None = None) -> None:
    """Raise ``JarConflict`` for a ``group:artifact`` that is for another Scala.

    Spark's jars are for ``scala``; if that is empty, nothing is refused.
    """
    artifact = name.split(":")[1]
    other = scala_of(artifact)
    if scala and other is not None and other != scala:
        ours = f"{artifact[: artifact.rindex('_')]}_{scala}"
        raise JarConflict(
            f"{name} is for Scala {other}, and Spark's jars here are for Scala {scala}",
            where=where,
            why=why,
            hint=f"if its project publishes {ours}, use that",
        )
