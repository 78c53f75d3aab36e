"""What a registry has of a runtime, and which versions its channels point at."""

from typing import Annotated

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.output import emit, say
from mlruntime.cli.release.options import Json, Runtime, Where, now, repository_of
from mlruntime.definitions.files import Definitions
from mlruntime.documents.reading import did_you_mean
from mlruntime.documents.tables import Table, plain
from mlruntime.errors import UsageError
from mlruntime.lock.model import CORE
from mlruntime.release.channels import CHANNELS, STABLE, Record
from mlruntime.release.tagging import read_record
from mlruntime.release.versions import first, step
from mlruntime.workflows.locked import fresh_lock
from mlruntime.workflows.release.changelog import changelog_of
from mlruntime.workflows.release.channels import move, retired, rolled_back
from mlruntime.workflows.release.publishing import lock_before


def plan(ctx: typer.Context, runtime: Runtime, registry: Where, as_json: Json = False) -> None:
    """Show which version the lock would become, and why."""
    context: Context = ctx.obj
    lock = fresh_lock(Definitions(context.root), runtime).cut(CORE)
    with repository_of(ctx, registry) as repository:
        record = read_record(repository, runtime)
        found = step(lock_before(repository, record), lock)
    latest = record.latest
    following = first(runtime) if latest is None else latest.version.next()
    version = None
    if found.size == "patch":
        version = following.text
    elif found.size == "none" and latest is not None:
        version = latest.version.text
    result = {
        "runtime": runtime,
        "latest": latest.version.text if latest else None,
        "size": found.size,
        "version": version,
        "reasons": list(found.reasons),
    }
    head = f"{found.size}: {version}" if version else f"{found.size}: a runtime with another id"
    emit(result, "\n".join([head, *(f"  {reason}" for reason in found.reasons)]), as_json)


def list_(ctx: typer.Context, runtime: Runtime, registry: Where, as_json: Json = False) -> None:
    """List versions, channels, and every move of a channel."""
    with repository_of(ctx, registry) as repository:
        record = read_record(repository, runtime)
    _show(record, as_json)


def changelog(ctx: typer.Context, runtime: Runtime, registry: Where) -> None:
    """Print what changed from version to version, as Markdown."""
    with repository_of(ctx, registry) as repository:
        record = read_record(repository, runtime)
        text = changelog_of(repository, record)
    emit(None, text.rstrip("\n"), False)


def _show(record: Record, as_json: bool) -> None:
    import json

    at = {channel: record.where(channel) for channel in CHANNELS}
    rows = tuple(
        (
            v.version.text,
            ", ".join(c for c, where in at.items() if where == v.version)
            or (f"retired: {v.retired}" if v.retired is not None else ""),
            v.released,
            ", ".join(name for name, _ in v.variants),
            v.index[:19],
        )
        for v in reversed(record.versions)
    )
    columns = ("version", "channel", "released", "variants", "index")
    text = plain(Table(title="", columns=columns, rows=rows)) if rows else "nothing was released"
    emit(json.loads(record.to_json()), text, as_json)


def _channel(name: str) -> str:
    if name not in CHANNELS:
        raise UsageError(f"there is no channel {name!r}", hint=did_you_mean(name, CHANNELS))
    return name


def promote(
    ctx: typer.Context,
    runtime: Runtime,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="such as 6.0.3-ml")],
    registry: Where,
    to: Annotated[str, typer.Option(metavar="CHANNEL", help="candidate or stable")] = STABLE,
    why: Annotated[
        str, typer.Option(metavar="TEXT", help="the reason, kept with the move")
    ] = "promoted",
    as_json: Json = False,
) -> None:
    """Point a channel at a version."""
    _channel(to)

    def change(record: Record) -> Record:
        return record.moved(to, record.version(version).version, at=now(), why=why)

    with repository_of(ctx, registry) as repository:
        _show(move(repository, runtime, [to], change, say), as_json)


def rollback(
    ctx: typer.Context,
    runtime: Runtime,
    registry: Where,
    channel: Annotated[str, typer.Option(metavar="CHANNEL", help="candidate or stable")] = STABLE,
    to: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="a version that it was at; default: the one before"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Point a channel back at the version before.

    A rollback that was cut off is only finished, unless --to says where it should end.
    """
    _channel(channel)

    def change(record: Record) -> Record:
        return rolled_back(record, channel, at=now(), to=to)

    with repository_of(ctx, registry) as repository:
        changed = move(repository, runtime, [channel], change, say, finish_first=to is None)
    _show(changed, as_json)


def retire(
    ctx: typer.Context,
    runtime: Runtime,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="such as 6.0.3-ml")],
    registry: Where,
    why: Annotated[str, typer.Option(metavar="TEXT", help="what is wrong with it, for its users")],
    as_json: Json = False,
) -> None:
    """Retire a version, so that no channel can point at it.

    It can still be pulled by its tag. Channels go back to the version before.
    """

    def change(record: Record) -> Record:
        return retired(record, version, at=now(), why=why)

    with repository_of(ctx, registry) as repository:
        changed = move(repository, runtime, CHANNELS, change, say)
    _show(changed, as_json)
