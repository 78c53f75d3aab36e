"""``mlruntime size``."""

from pathlib import Path
from typing import Annotated

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.output import emit
from mlruntime.definitions.files import Definitions
from mlruntime.image.sizes import sizes_json, sizes_picture, sizes_text
from mlruntime.lock.model import CORE
from mlruntime.store.store import Store, storage_errors
from mlruntime.workflows.locked import find_lock
from mlruntime.workflows.sizes import weigh
from mlruntime.workflows.store.stores import store_root


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("size")(size)


def size(
    ctx: typer.Context,
    runtime: Annotated[
        str, typer.Argument(metavar="RUNTIME", help="the runtime's id, such as 6.0-ml")
    ],
    variant: Annotated[str, typer.Option(metavar="VARIANT", help="cpu or gpu")] = "cpu",
    flavour: Annotated[
        str, typer.Option(metavar="FLAVOUR", help="core, or a flavour of the runtime")
    ] = CORE,
    svg: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="draw the packages as a treemap into this file"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Show what takes how much space in an image.

    It lists layers and packages, the largest first.
    """
    context: Context = ctx.obj
    definitions = Definitions(context.root)
    definitions.folder(runtime)  # with a "did you mean"
    lock = find_lock(definitions, runtime).cut(flavour)
    lock.variant(variant)
    found = weigh(definitions, Store(store_root()), lock, variant)
    if svg is not None:
        with storage_errors(svg):
            svg.write_text(sizes_picture(found), encoding="utf-8")
    emit(sizes_json(found), sizes_text(found), as_json)
