"""Moving the channels of a runtime: the record first, then the tags."""

from collections.abc import Callable

from mlruntime.errors import UsageError
from mlruntime.registry.client import Repository
from mlruntime.release.channels import Record
from mlruntime.release.tagging import read_record, settle, write_record


def move(
    repository: Repository,
    runtime: str,
    change: Callable[[Record], Record],
    say: Callable[[str], None],
) -> Record:
    """Change the record of a runtime, then make the channels' tags follow it."""
    before = read_record(repository, runtime)
    if not before.versions:
        raise UsageError(
            f"nothing of {runtime} was released", where=repository.name.repository,
            hint=f"`mlruntime release {runtime} --registry …` comes first",
        )  # fmt: skip
    after = change(before)
    if after != before:
        write_record(repository, after, before)
    settle(repository, after.tags(), say)
    return after


def rolled_back(record: Record, channel: str, *, at: str) -> Record:
    """Return the record with a channel at the version that it had before."""
    before = record.before(channel)
    if before is None:
        raise UsageError(
            f"{channel} has no version before this one", hint="`mlruntime release list` shows moves"
        )
    return record.moved(channel, before, at=at, why="rolled back")


def retired(record: Record, version: str, *, at: str, why: str) -> Record:
    """Return the record with a version retired; once retired, it stays so."""
    found = record.version(version)
    if found.retired is not None:
        return record
    return record.retiring(found.version, at=at, why=why)
