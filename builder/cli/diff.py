"""``mlruntime diff``."""

from pathlib import Path
from typing import Annotated

import typer

from builder.build import cached_layer
from builder.cli.context import Context
from builder.cli.output import emit
from builder.cli.stores import store_root
from builder.command import require, run
from builder.definitions import Definitions, read_text
from builder.difference import Named, Side, difference, parse_named
from builder.errors import CommandFailed, InvalidLock, UsageError
from builder.inputs import read_lock
from builder.lock import Lock, parse_lock
from builder.planning import planned_image
from builder.render_difference import difference_json, difference_markdown, difference_text
from builder.store import Store


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("diff")(diff)


def diff(
    ctx: typer.Context,
    a: Annotated[
        str,
        typer.Argument(metavar="A", help="RUNTIME[:VARIANT], RUNTIME@GIT-REVISION, a lock file"),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="likewise")],
    as_markdown: Annotated[bool, typer.Option("--markdown", help="print Markdown")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Show what changes from one image to another: versions, packages, layers, bytes to pull."""
    context: Context = ctx.obj
    definitions, store = Definitions(context.root), Store(store_root())
    found = difference(*(_side(definitions, store, parse_named(text)) for text in (a, b)))
    text = difference_markdown(found) if as_markdown else difference_text(found)
    emit(difference_json(found), text, as_json)


def _side(definitions: Definitions, store: Store, named: Named) -> Side:
    lock = _lock(definitions, named)
    lock.variant(named.variant)
    plan = planned_image(definitions, lock, named.variant)
    blobs = {layer.key: blob for layer in plan.layers if (blob := cached_layer(store, layer))}
    return Side(name=named.text, lock=lock, plan=plan, blobs=blobs)


def _lock(definitions: Definitions, named: Named) -> Lock:
    path = Path(named.what)
    if named.revision is None and path.is_file():
        return parse_lock(read_text(path, named.what, InvalidLock), file=named.what)
    if named.revision is None and (path.suffix == ".json" or len(path.parts) > 1):
        raise UsageError(f"there is no lock file {named.what}")
    if named.revision is not None:
        return _of_revision(definitions, named)
    return read_lock(definitions, named.what)


def _of_revision(definitions: Definitions, named: Named) -> Lock:
    """Read the lock that a runtime had in a revision of the definitions' git repository.

    Its layers are those that the present ``images/`` would give it.
    """
    require("git", hint="install git, or name a lock file")
    file = f"runtimes/{named.what}/lock.json"
    words = ["git", "-C", str(definitions.root), "show", f"{named.revision}:./{file}"]
    try:
        text = run(words)
    except CommandFailed as error:
        raise UsageError(
            f"git has no {file} in revision {named.revision!r}", why=error.why
        ) from None
    return parse_lock(text, file=f"{named.revision}:{file}")
