"""The command line: the only place that prints, and the only one that exits."""

import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from typer.exceptions import Abort, TyperException

from builder import __version__
from builder.cli.context import Context, find_root
from builder.errors import MlruntimeError

# In the order `--help` lists them.
VERBS = ("doctor", "matrix", "resolve", "lock", "build", "validate")
INTERRUPTED = 130


def application() -> typer.Typer:
    """Return the command line with every verb."""
    app = typer.Typer(
        name="mlruntime",
        help="Resolve, lock, compose and prove ML runtime images.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def options(
        ctx: typer.Context,
        root: Annotated[
            Path | None,
            typer.Option(metavar="DIR", help="definitions: matrix.yaml, runtimes/, images/"),
        ] = None,
        ca_bundle: Annotated[
            Path | None, typer.Option(metavar="FILE", help="certificates every download trusts")
        ] = None,
        version: Annotated[bool, typer.Option("--version", is_eager=True)] = False,
    ) -> None:
        if version:
            typer.echo(f"mlruntime {__version__}")
            raise typer.Exit
        ctx.obj = Context(root=find_root(root, Path.cwd()), ca_bundle=ca_bundle)

    for verb in VERBS:
        import_module(f"builder.cli.{verb}").register(app)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; see DESIGN for what each means."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        command = typer.main.get_command(application())
        outcome = command.main(
            args=list(sys.argv[1:] if argv is None else argv),
            prog_name="mlruntime",
            standalone_mode=False,
        )
        return outcome if isinstance(outcome, int) else 0
    except TyperException as error:
        _usage(error)
        return 2
    except (Abort, KeyboardInterrupt):
        print("mlruntime: interrupted", file=sys.stderr)
        return INTERRUPTED
    except MlruntimeError as error:
        print(f"mlruntime: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return INTERRUPTED
    except Exception as error:
        return _bug(error)


def _usage(error: TyperException) -> None:
    """Show a mistake in the words themselves, as the argument parser words it."""
    show = getattr(error, "show", None)
    if show is not None:
        show()
    else:
        print(f"mlruntime: {error}", file=sys.stderr)


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    # The same way out as Ctrl-C, so that everything that cleans up does.
    raise KeyboardInterrupt


def _bug(error: Exception) -> int:
    with tempfile.NamedTemporaryFile(
        "w", prefix="mlruntime-", suffix=".traceback", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exc(file=file)
    print(
        f"mlruntime: a bug of ours: {type(error).__name__}: {error}\n"
        f"  try: report it with {file.name}",
        file=sys.stderr,
    )
    return 1


def run() -> NoReturn:
    """Be the console script."""
    sys.exit(main())
