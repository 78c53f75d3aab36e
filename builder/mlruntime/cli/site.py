"""``mlruntime site``."""

from pathlib import Path
from typing import Annotated

import typer

from mlruntime.cli.context import PACKAGED, Context
from mlruntime.cli.output import emit, mb
from mlruntime.definitions.files import Definitions
from mlruntime.explore.evidence import evidence_tables
from mlruntime.explore.state import evidence_records
from mlruntime.workflows.site import write_site
from mlruntime.workflows.versions import released_versions


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("site")(site)


def site(
    ctx: typer.Context,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="an empty folder, or one with such a site")
    ],
    registry: Annotated[
        str | None,
        typer.Option(metavar="HOST/REPO", help="the registry in the commands that the site shows"),
    ] = None,
    record: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="show released versions: the output of `release list --json`; repeatable",
        ),
    ] = None,
    lock: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VERSION=FILE",
            help="add the images of a released version: its lock; repeatable",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Write a static site of all runtimes.

    It shows packages, sizes, differences, rules and evidence, and needs no server: open its
    index.html.
    """
    context: Context = ctx.obj
    definitions = Definitions(context.root)
    written = write_site(
        definitions,
        output,
        evidence=evidence_tables(evidence_records(context.root)),
        documentation=_documentation(),
        registry=registry,
        versions=released_versions(definitions, record or (), lock or ()),
    )
    index = output / "index.html"
    value = {"output": str(output), "index": str(index), "files": written.files,
             "size": written.size, "removed": written.removed}  # fmt: skip
    emit(value, f"{index}: {written.files} files, {mb(written.size)}", as_json)


def _documentation() -> Path:
    """Return the folder with our documentation: in the installed package, or in a checkout."""
    return PACKAGED if (PACKAGED / "docs").is_dir() else Path(__file__).parents[3]
