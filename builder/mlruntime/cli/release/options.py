"""What the commands of ``mlruntime release`` have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.registry import opened
from mlruntime.registry.client import Repository

Runtime = Annotated[str, typer.Argument(metavar="RUNTIME", help="the runtime's id")]
Where = Annotated[
    str, typer.Option("--registry", metavar="HOST/REPO", help="the repository that releases are in")
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]


@contextmanager
def repository_of(ctx: typer.Context, registry: str) -> Iterator[Repository]:
    """Open the repository that ``--registry`` names."""
    context: Context = ctx.obj
    with opened(registry, context.ca_bundle) as (repository, _):
        yield repository


def now() -> str:
    """Return the time as RFC 3339, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
