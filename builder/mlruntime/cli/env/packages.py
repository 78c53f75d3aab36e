"""``mlruntime env add`` and ``env sync``: packages of one's own in an environment."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mlruntime.cli.context import absolute
from mlruntime.cli.env.output import JSON, PATH, summary
from mlruntime.cli.host import JARS, this_host, with_added
from mlruntime.cli.output import emit
from mlruntime.definitions.files import Definitions
from mlruntime.lock.model import Lock
from mlruntime.workflows.environment.syncing import sync_environment
from mlruntime.workflows.host import Host


def add(
    ctx: typer.Context,
    path: Annotated[Path, PATH],
    packages: Annotated[
        list[str], typer.Argument(metavar="PACKAGE…", help="such as polars or 'polars>=1,<2'")
    ],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Add packages to an environment; the runtime's own never move."""
    # Imported late: what locks packages takes longer to import than most verbs run.
    from mlruntime.workflows.additions import with_more

    definitions, host = Definitions(ctx.obj.root), ctx.with_resource(this_host(ctx.obj))

    def wanted(lock: Lock, own: Lock) -> Lock:
        return with_more(definitions, lock, own, packages, host)

    _sync(definitions, absolute(path), wanted, host, as_json=as_json)


def sync(
    ctx: typer.Context,
    path: Annotated[Path, PATH],
    requirements: Annotated[
        Path | None,
        typer.Option(
            "--with",
            metavar="FILE",
            help="a requirements file; without it, added packages are removed",
        ),
    ] = None,
    jars: Annotated[Path | None, JARS] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Make the added packages and jars exactly those of the files."""
    definitions, host = Definitions(ctx.obj.root), ctx.with_resource(this_host(ctx.obj))

    def wanted(lock: Lock, _own: Lock) -> Lock:
        return with_added(definitions, lock, requirements, jars, host)

    _sync(definitions, absolute(path), wanted, host, as_json=as_json)


def _sync(
    definitions: Definitions,
    root: Path,
    wanted: Callable[[Lock, Lock], Lock],
    host: Host,
    *,
    as_json: bool,
) -> None:
    started = time.monotonic()
    made, added = sync_environment(definitions, root, wanted, host, os.environ)
    seconds = time.monotonic() - started
    said = f"{made.runtime} ({made.variant}) in {made.path}, in {seconds:.1f} s"
    said += f"\nadded: {', '.join(added) or 'nothing'}"
    emit(summary(made) | {"added": list(added), "seconds": round(seconds, 2)}, said, as_json)
