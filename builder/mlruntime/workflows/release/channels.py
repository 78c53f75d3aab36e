"""Moving the channels of a runtime: the record first, then the tags."""

from collections.abc import Callable, Iterable

from mlruntime.errors import UsageError
from mlruntime.registry.client import Repository
from mlruntime.release.channels import Record
from mlruntime.release.tagging import (
    read_record,
    settle,
    write_record,
    write_version_tags,
)


def move(
    repository: Repository,
    runtime: str,
    channels: Iterable[str],
    change: Callable[[Record], Record],
    say: Callable[[str], None],
    *,
    finish_first: bool = False,
) -> Record:
    """Change the record of a runtime, then make the tags of these channels follow it.

    With ``finish_first`` a change that was cut off is finished, and then nothing else is changed:
    for what would go further each time that it is done.
    """
    named = tuple(channels)
    before = read_record(repository, runtime)
    if not before.versions:
        raise UsageError(
            f"nothing of {runtime} was released", where=repository.name.repository,
            hint=f"`mlruntime release {runtime} --registry …` comes first",
        )  # fmt: skip
    if finish_first:
        for channel in named:
            if settle(repository, before.channel_tags(channel), say):
                say(f"the last move of {channel} was cut off; it is finished now: run it again"
                    " if you want another one")  # fmt: skip
                return before
    after = change(before)
    if after != before:
        write_record(repository, after, before)
    now = read_record(repository, runtime)  # somebody may have moved a channel since
    for channel in named:
        at = now.where(channel)
        if at is not None:
            write_version_tags(repository, now.version(at.text).tags, say)
        settle(repository, now.channel_tags(channel), say)
    return now


def rolled_back(record: Record, channel: str, *, at: str, to: str | None = None) -> Record:
    """Return the record with a channel at the version that it had before, or at ``to``."""
    if to is None:
        before = record.before(channel)
        if before is None:
            raise UsageError(
                f"{channel} has no version before this one",
                hint="`mlruntime release list` shows moves",
            )
        return record.moved(channel, before, at=at, why="rolled back")
    wanted = record.version(to).version
    if all((m.channel, m.version) != (channel, wanted) for m in record.moves):
        raise UsageError(
            f"{channel} was never at {to}",
            hint=f"`mlruntime release promote {record.runtime} {to}` moves it there",
        )
    return record.moved(channel, wanted, at=at, why="rolled back")


def retired(record: Record, version: str, *, at: str, why: str) -> Record:
    """Return the record with a version retired; once retired, it stays so."""
    found = record.version(version)
    if found.retired is not None:
        return record
    return record.retiring(found.version, at=at, why=why)
