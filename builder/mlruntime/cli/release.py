"""``mlruntime release``: from a proven image to a version in a registry, and its channels."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mlruntime.cli.context import Context
from mlruntime.cli.host import this_host
from mlruntime.cli.output import emit, say, warn
from mlruntime.cli.registry import opened
from mlruntime.definitions.files import Definitions
from mlruntime.documents.reading import did_you_mean
from mlruntime.documents.tables import Table, plain
from mlruntime.errors import UsageError
from mlruntime.lock.model import CORE
from mlruntime.registry.client import Repository
from mlruntime.release.channels import CHANNELS, STABLE, Record
from mlruntime.release.publishing import read_record, refuse_moved
from mlruntime.release.signing import SigningKey
from mlruntime.release.versions import RuntimeVersion, first, step
from mlruntime.release.vulnerabilities import LEVELS
from mlruntime.workflows.inputs import support_warning
from mlruntime.workflows.locked import fresh_lock
from mlruntime.workflows.release.candidates import Demands, candidates
from mlruntime.workflows.release.channels import move, retired, rolled_back
from mlruntime.workflows.release.inputs import (
    Reported,
    read_advisories,
    read_policy,
    read_reports,
)
from mlruntime.workflows.release.publishing import intended, lock_of_latest, publish
from mlruntime.workflows.signing import key_of_command, key_of_file

Runtime = Annotated[str, typer.Argument(metavar="RUNTIME", help="the runtime's id")]
Where = Annotated[
    str, typer.Option("--registry", metavar="HOST/REPO", help="the repository that releases are in")
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]


class _Group(TyperGroup):
    """``release RUNTIME`` is short for ``release publish RUNTIME``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the name of the command that is meant when none is named."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["publish", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    release = typer.Typer(
        cls=_Group,
        no_args_is_help=True,
        help="Publish validated images as versions of a runtime.\n\n"
        "`release RUNTIME` is short for `release publish RUNTIME`.",
    )
    release.command("publish")(publish_)
    release.command("plan")(plan)
    release.command("list")(list_)
    release.command("promote")(promote)
    release.command("rollback")(rollback)
    release.command("retire")(retire)
    app.add_typer(release, name="release")


@contextmanager
def _repository(ctx: typer.Context, registry: str) -> Iterator[Repository]:
    context: Context = ctx.obj
    with opened(registry, context.ca_bundle) as (repository, _):
        yield repository


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def publish_(
    ctx: typer.Context,
    runtimes: Annotated[
        list[str], typer.Argument(metavar="RUNTIME…", help="runtimes, such as 6.0-ml")
    ],
    registry: Where,
    report: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="a report from `validate --report`; repeatable"),
    ],
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the private key: ECDSA P-256, PEM")
    ] = None,
    key_password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="a file with its passphrase (or set MLRUNTIME_KEY_PASSWORD)"
        ),
    ] = None,
    key_password_command: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="a command that prints the passphrase")
    ] = None,
    sign_command: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="a command that signs: Base64 on stdin, the signature in Base64 on stdout",
        ),
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the public key of --sign-command")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="check everything, push nothing")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild/--no-rebuild",
            help="build each image again in a second store and compare digests",
        ),
    ] = True,
    osv: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH", help="advisories as OSV JSON: a file, a directory or a zip; repeatable"
        ),
    ] = None,
    worst: Annotated[
        str,
        typer.Option(
            metavar="LEVEL", help="refuse from this severity on: low, medium, high, critical"
        ),
    ] = "high",
    as_json: Json = False,
) -> None:
    """Release validated images as the next version.

    The channel `candidate` then points at it.
    """
    context: Context = ctx.obj
    definitions, reports = Definitions(context.root), read_reports(report)
    _all_wanted(runtimes, reports)
    if worst not in LEVELS[1:]:
        raise UsageError(f"there is no level {worst!r}", hint=did_you_mean(worst, LEVELS[1:]))
    signing = _key(key, key_password_file, key_password_command, sign_command, public_key)
    if signing is None and not dry_run:
        raise UsageError(
            "a release is signed, and there is no key",
            hint="give --key, or --sign-command with --public-key",
        )
    demands = Demands(
        policy=read_policy(definitions),
        today=datetime.now(UTC).date(),
        rebuild=rebuild,
        known=read_advisories(osv or ()),
        worst=worst,
    )
    host = ctx.with_resource(this_host(context))
    done: list[dict[str, Any]] = []
    with _repository(ctx, registry) as repository, host.store.scratch() as scratch:
        for runtime in runtimes:
            if ended := support_warning(definitions, runtime, demands.today):
                warn(ended)
            made = candidates(definitions, runtime, reports, host, demands)
            if dry_run or signing is None:
                record = read_record(repository, runtime)
                wanted = intended(made, record, lock_of_latest(repository, record))
                refuse_moved(repository, wanted.tags)
                told = _told(repository, runtime, wanted.version, wanted.tags)
            else:
                released = publish(repository, made, signing, now=_now(), scratch=scratch, say=say)
                told = _told(repository, runtime, released.version, released.tags)
            done.append(told | {"released": not dry_run})
    word = "would release" if dry_run else "released"
    lines = [
        f"{word} {d['repository']}:{tag}  {digest}"
        for d in done
        for tag, digest in sorted(d["tags"].items())
    ]
    emit({"releases": done}, "\n".join(lines), as_json)


def _told(
    repository: Repository, runtime: str, version: RuntimeVersion, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Return what is said of a version: where its tags are, or would be."""
    return {
        "runtime": runtime,
        "version": version.text,
        "repository": repository.name.repository,
        "index": tags[version.tag()],
        "tags": dict(tags),
    }


def _all_wanted(runtimes: list[str], reports: Iterable[Reported]) -> None:
    for report in reports:
        if report.outcome.runtime not in runtimes:
            raise UsageError(
                f"{report.file} is a report of {report.outcome.runtime}, which is not released",
                hint=f"released here: {', '.join(runtimes)}",
            )


def _key(
    key: Path | None,
    password_file: Path | None,
    password_command: str | None,
    command: str | None,
    public: Path | None,
) -> SigningKey | None:
    if command is not None:
        if public is None or key is not None:
            raise UsageError("--sign-command needs --public-key, and no --key")
        return key_of_command(command, public)
    if key is None:
        return None
    return key_of_file(key, password_file, password_command, os.environ)


def plan(ctx: typer.Context, runtime: Runtime, registry: Where, as_json: Json = False) -> None:
    """Show which version the lock would become, and why."""
    context: Context = ctx.obj
    lock = fresh_lock(Definitions(context.root), runtime).cut(CORE)
    with _repository(ctx, registry) as repository:
        record = read_record(repository, runtime)
        found = step(lock_of_latest(repository, record), lock)
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
    with _repository(ctx, registry) as repository:
        record = read_record(repository, runtime)
    _show(record, as_json)


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
        return record.moved(to, record.version(version).version, at=_now(), why=why)

    with _repository(ctx, registry) as repository:
        _show(move(repository, runtime, change, say), as_json)


def rollback(
    ctx: typer.Context,
    runtime: Runtime,
    registry: Where,
    channel: Annotated[str, typer.Option(metavar="CHANNEL", help="candidate or stable")] = STABLE,
    as_json: Json = False,
) -> None:
    """Point a channel back at the version before."""
    _channel(channel)
    with _repository(ctx, registry) as repository:
        changed = move(repository, runtime, lambda r: rolled_back(r, channel, at=_now()), say)
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
    with _repository(ctx, registry) as repository:
        changed = move(repository, runtime, lambda r: retired(r, version, at=_now(), why=why), say)
    _show(changed, as_json)
