"""``mlruntime import``."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from mlruntime.cli.output import emit, say
from mlruntime.definitions.files import Definitions
from mlruntime.errors import UsageError
from mlruntime.importing.composing import lines_of
from mlruntime.store.store import storage_errors, write_whole
from mlruntime.workflows.importing import ImportedRuntime, import_file

_FOLDER: Final = "runtimes"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("import")(import_)


def import_(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="a requirements.txt, environment.yml, pylock.toml or conda-lock.yml",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="where to write it (default: standard output)"
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="ID", help="the id of your runtime")] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="RUNTIME",
            help="take Debian, Java, … from this runtime (default: the newest that fits)",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Make a first runtime.yaml from another tool's file.

    It says what it could not take over.
    """
    target = output.absolute() if output else None
    if target is not None and target.exists():
        raise UsageError(
            "this exists already",
            where=str(output),
            why="nothing is overwritten",
            hint="name another file",
        )
    if name is None and target is not None and target.parent.parent.name == _FOLDER:
        name = target.parent.name
    made = import_file(Definitions(ctx.obj.root), file, name=name, like=like)
    for one in made.composed.not_taken:
        say(f"not taken over: {one.text}")
    if target is not None:
        with storage_errors(target.parent, instead="name another file"):
            target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, made.text)
    if not made.fits:
        say("the matrix has no versions for all of this together: `mlruntime resolve` says why")
    shown = made.text.rstrip("\n") if output is None else _summary(made, output)
    emit(_value(made, output), shown, as_json)


def _value(made: ImportedRuntime, output: Path | None) -> dict[str, object]:
    found = made.composed.definition
    return {
        "runtime": found.runtime,
        "like": made.composed.like,
        "fits": made.fits,
        "output": str(output) if output else None,
        "text": None if output else made.text,
        "request": {component: lines_of(spec) for component, spec in found.request},
        "python": [str(one) for one in found.python],
        "conda": asdict(found.conda) if found.conda.channels else None,
        "not_taken": [asdict(one) for one in made.composed.not_taken],
    }


def _summary(made: ImportedRuntime, output: Path) -> str:
    found, left = made.composed.definition, len(made.composed.not_taken)
    conda = f", {len(found.conda.packages)} conda packages" if found.conda.channels else ""
    counted = f"{len(found.request)} components, {len(found.python)} Python packages{conda}"
    lines = [f"{output}: {counted}"]
    lines.append(f"not taken over: {left}" if left else "everything was taken over")
    folder = output.absolute().parent
    root = folder.parent.parent
    if folder.parent.name == _FOLDER and (root / "matrix.yaml").is_file():
        lines.append(f"next: mlruntime --root {shlex.quote(str(root))} resolve {found.runtime}")
    return "\n".join(lines)
