"""The lines of a requirements file, each by itself: packages, and what is none. Core."""

from collections.abc import Iterator

from mlruntime.ecosystems.pypi.requirements import RequirementLine
from mlruntime.errors import InvalidDefinition
from mlruntime.importing.model import PIP, NotTaken, RequestedPackage


def of_lines(
    lines: Iterator[RequirementLine | InvalidDefinition],
) -> Iterator[RequestedPackage | NotTaken]:
    """Yield what each line of a requirements file is."""
    hashes, last = False, ""
    for line in lines:
        if isinstance(line, InvalidDefinition):
            yield NotTaken.of(line, "")
            continue
        hashes, last = hashes or bool(line.hashes), line.where
        requirement = line.requirement
        yield RequestedPackage(
            manager=PIP,
            name=line.name,
            where=line.where,
            specifier=str(requirement.specifier),
            extras=tuple(sorted(requirement.extras)),
            marker=str(requirement.marker or ""),
        )
    if hashes:
        yield NotTaken(
            what="the hashes of its packages",
            where=last.rpartition(":")[0],
            why="`mlruntime lock` writes the sha256 of every file into the lock",
        )
