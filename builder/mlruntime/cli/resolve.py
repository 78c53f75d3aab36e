"""``mlruntime resolve``."""

from typing import Annotated

import typer

from mlruntime.cli.output import emit
from mlruntime.cli.tables import show_tables
from mlruntime.definitions.files import Definitions
from mlruntime.documents.tables import (
    Table,
)
from mlruntime.resolve.resolution import NoSolution
from mlruntime.resolve.resolution import resolve as resolve_request
from mlruntime.resolve.wording import conflict_json, resolution_json, resolution_rows
from mlruntime.workflows.inputs import matrix_of, read_matrix, read_runtime


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("resolve")(resolve)


def resolve(
    ctx: typer.Context,
    runtime: Annotated[
        str, typer.Argument(metavar="RUNTIME", help="the runtime's id, such as 6.0-ml")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="COMPONENT==VERSION",
            help="replace or add a line of the request; repeatable",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Choose the versions of a runtime, or explain the conflict."""
    definitions = Definitions(ctx.obj.root)
    whole = read_matrix(definitions)
    definition = read_runtime(definitions, runtime, whole).with_settings(settings or ())
    matrix = matrix_of(whole, definition)
    try:
        resolution = resolve_request(matrix, definition.request)
    except NoSolution as failure:
        if as_json:
            emit({"runtime": runtime, "conflict": conflict_json(failure.conflict)}, "", as_json)
        raise
    if as_json:
        emit({"runtime": runtime, **resolution_json(resolution)}, "", as_json)
        return
    rows = tuple(resolution_rows(resolution))
    columns = ("component", "version", "why")
    show_tables([Table(title=definition.summary, columns=columns, rows=rows)])
