"""``mlruntime init``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mlruntime.cli.output import emit
from mlruntime.definitions.files import Definitions
from mlruntime.workflows.initializing import start_definitions


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("init")(init)


def init(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="the folder to make")],
    runtime: Annotated[
        str | None,
        typer.Argument(metavar="RUNTIME", help="the runtime to begin with (default: all)"),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="ID", help="the id of your runtime")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Start a folder of definitions of your own.

    It gets matrix.yaml, runtimes/ and images/.
    """
    target = folder.absolute()
    made = start_definitions(Definitions(ctx.obj.root), target, runtime=runtime, name=name)
    lines = [f"{folder} has {', '.join(made.runtimes)}"]
    if made.unlocked:
        lines.append(f"next: mlruntime --root {folder} lock {made.unlocked[0]}")
    else:
        lines.append(f"next: mlruntime --root {folder} build {made.runtimes[0]}")
    emit({**asdict(made), "root": str(made.root)}, "\n".join(lines), as_json)
