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


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("site")(site)


def site(
    ctx: typer.Context,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="a folder that is empty, or has such a site")
    ],
    registry: Annotated[
        str | None,
        typer.Option(metavar="HOST/REPO", help="where images are pulled from, for the commands"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Write a static site of all runtimes: packages, sizes, differences, rules and evidence.

    It needs no server: open its index.html.
    """
    context: Context = ctx.obj
    written = write_site(
        Definitions(context.root),
        output,
        evidence=evidence_tables(evidence_records(context.root)),
        documentation=_documentation(),
        registry=registry,
    )
    index = output / "index.html"
    value = {"output": str(output), "index": str(index), "files": written.files,
             "size": written.size, "removed": written.removed}  # fmt: skip
    emit(value, f"{index}: {written.files} files, {mb(written.size)}", as_json)


def _documentation() -> Path:
    """Return the folder with our documentation: in the installed package, or in a checkout."""
    return PACKAGED if (PACKAGED / "docs").is_dir() else Path(__file__).parents[3]
