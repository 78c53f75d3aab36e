"""``mlruntime release publish``: from a proven image to a version in a registry."""

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.host import this_host
from mlruntime.cli.output import emit, say, warn
from mlruntime.cli.release.options import Json, Where, now, repository_of
from mlruntime.definitions.files import Definitions
from mlruntime.documents.reading import did_you_mean
from mlruntime.errors import UsageError
from mlruntime.registry.client import Repository
from mlruntime.release.pulls import PullSizes
from mlruntime.release.severity import LEVELS
from mlruntime.release.signing import SigningKey
from mlruntime.release.tagging import read_record, refuse_moved
from mlruntime.release.versions import RuntimeVersion
from mlruntime.workflows.inputs import support_warning
from mlruntime.workflows.release.candidates import Demands, candidates
from mlruntime.workflows.release.inputs import (
    Reported,
    read_advisories,
    read_policy,
    read_reports,
)
from mlruntime.workflows.release.publishing import (
    as_released,
    intended,
    lock_before,
    must_be_later,
    publish,
)
from mlruntime.workflows.release.pulls import pulls
from mlruntime.workflows.signing import key_of_command, key_of_file


def command(
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
    mount_from: Annotated[
        str | None,
        typer.Option(
            metavar="REPO",
            help="another repository of the registry; layers that it has are not sent again",
        ),
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
    lines: list[str] = []
    with repository_of(ctx, registry) as repository, host.store.scratch() as scratch:
        for runtime in runtimes:
            if ended := support_warning(definitions, runtime, demands.today):
                warn(ended)
            made = candidates(definitions, runtime, reports, host, demands)
            record = read_record(repository, runtime)
            sizes = pulls(repository, record, made)
            if dry_run or signing is None:
                must_be_later(now(), made, record)
                made = as_released(repository, record, made)
                wanted = intended(made, record, lock_before(repository, record, made))
                refuse_moved(repository, wanted.tags)
                told = _told(repository, runtime, wanted.version, wanted.tags, sizes)
            else:
                released = publish(
                    repository,
                    made,
                    signing,
                    now=now(),
                    scratch=scratch,
                    say=say,
                    mount_from=mount_from,
                )
                told = _told(repository, runtime, released.version, released.tags, sizes)
            done.append(told)
            word = "would release" if dry_run else "released"
            lines += [
                *(f"{word} {told['repository']}:{t}  {d}" for t, d in sorted(told["tags"].items())),
                *(f"{one.name}: {one.to_text()}" for one in sizes),
            ]
    releases = [one | {"released": not dry_run} for one in done]
    emit({"releases": releases}, "\n".join(lines), as_json)


def _told(
    repository: Repository,
    runtime: str,
    version: RuntimeVersion,
    tags: Mapping[str, str],
    sizes: Iterable[PullSizes],
) -> dict[str, Any]:
    """Return what is said of a version: where its tags are, or would be, and what is pulled."""
    return {
        "runtime": runtime,
        "version": version.text,
        "repository": repository.name.repository,
        "index": tags[version.tag()],
        "tags": dict(tags),
        "pulls": [one.to_dict() for one in sizes],
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
