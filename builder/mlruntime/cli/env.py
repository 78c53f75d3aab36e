"""``mlruntime env``: a runtime as a directory on this host, without a container."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mlruntime.cli import output
from mlruntime.cli.context import Context
from mlruntime.cli.host import this_host
from mlruntime.cli.output import emit
from mlruntime.definitions.files import Definitions
from mlruntime.environment.description import Description, read_description
from mlruntime.environment.linking import COPY
from mlruntime.environment.personal import fish_script, posix_script
from mlruntime.errors import UsageError
from mlruntime.host.command import replace_process
from mlruntime.workflows.environments import Asked, create_environment
from mlruntime.workflows.locked import fresh_lock

_PATH = typer.Argument(metavar="PATH", help="the environment's directory")
_JSON = typer.Option("--json", help="print the result as JSON")


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    verbs = typer.Typer(
        no_args_is_help=True, help="Manage environments: runtimes in a directory of this host."
    )
    through = {"allow_interspersed_args": False}
    verbs.command("create")(create)
    verbs.command("run", context_settings=through)(run)
    verbs.command("shell")(shell)
    verbs.command("activate")(activate)
    app.add_typer(verbs, name="env")


def create(
    ctx: typer.Context,
    runtime: Annotated[str, typer.Argument(help="the runtime's id, such as 6.0-ml")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="where the environment will be")],
    variant: Annotated[str, typer.Option(help="cpu or gpu")] = "cpu",
    python: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the Python to use; else one is found")
    ] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Make an environment from the files of a runtime's lock."""
    started = time.monotonic()
    context: Context = ctx.obj
    definitions = Definitions(context.root)
    asked = Asked(lock=fresh_lock(definitions, runtime), variant=variant, python=python)
    host = ctx.with_resource(this_host(context))
    made = create_environment(definitions, asked, _absolute(path), host, os.environ)
    seconds = time.monotonic() - started
    emit(summary(made) | {"seconds": round(seconds, 2)}, _text(made, seconds), as_json)


def run(
    path: Annotated[Path, _PATH],
    words: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="what to run")],
) -> None:
    """Run a command in an environment; its exit code is that of the command."""
    root = _absolute(path)
    settings = read_description(root).settings(root)
    output.flush()
    command = words[1:] if words[0] == "--" else words
    if not command:
        raise UsageError("run what?", hint="`mlruntime env run PATH -- python train.py`")
    replace_process(command, settings.applied(os.environ))


def shell(path: Annotated[Path, _PATH]) -> None:
    """Start a shell in an environment."""
    root = _absolute(path)
    settings = read_description(root).settings(root)
    replace_process([os.environ.get("SHELL") or "/bin/sh"], settings.applied(os.environ))


def activate(
    path: Annotated[Path, _PATH],
    fish: Annotated[bool, typer.Option("--fish", help="for fish; else for bash and zsh")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Print what a shell has to run to use an environment: `eval "$(mlruntime env activate …)"`."""
    root = _absolute(path)
    settings = read_description(root).settings(root)
    text = fish_script(settings) if fish else posix_script(settings)
    value = {
        "set": dict(settings.set),
        "before": {n: list(v) for n, v in settings.extended.items()},
    }
    emit(value, text.rstrip("\n"), as_json)


def summary(made: Description) -> dict[str, Any]:
    """Return an environment as the verbs' JSON has it; ``made`` counts files by how they were."""
    return {
        "path": made.path,
        "runtime": made.runtime,
        "variant": made.variant,
        "lock_digest": made.lock,
        "python": made.python,
        "interpreter": made.interpreter,
        "glibc": made.glibc,
        "made": made.made,
    }


def _text(made: Description, seconds: float) -> str:
    ways = ", ".join(f"{count} files by {way}" for way, count in made.made.items())
    lines = [f"{made.runtime} ({made.variant}) with Python {made.python} in {made.path}"]
    lines.append(f"{ways}, in {seconds:.1f} s")
    if COPY in made.made:
        lines.append("copied: the store is on another file system, or this one has no links")
    return "\n".join(lines)


def _absolute(path: Path) -> Path:
    """Return a path without ``..`` and links above it: it is written into files."""
    absolute = path.expanduser().absolute()
    return absolute.parent.resolve() / absolute.name
