"""``mlruntime diff``."""

from typing import Annotated

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.output import emit
from mlruntime.definitions.files import Definitions
from mlruntime.image.difference_tables import difference_json, difference_markdown, difference_text
from mlruntime.store.store import Store
from mlruntime.workflows.difference import compare
from mlruntime.workflows.store.stores import store_root


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("diff")(diff)


def diff(
    ctx: typer.Context,
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="RUNTIME[:VARIANT[-FLAVOUR]], RUNTIME@REVISION or a lock file"
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="the other side, in the same form")],
    as_markdown: Annotated[bool, typer.Option("--markdown", help="print Markdown")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Show what changes from one image to another.

    It lists components, packages and layers, and the bytes to pull.
    """
    context: Context = ctx.obj
    found = compare(Definitions(context.root), Store(store_root()), a, b)
    text = difference_markdown(found) if as_markdown else difference_text(found)
    emit(difference_json(found), text, as_json)
