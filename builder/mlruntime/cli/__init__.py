"""The command line: the only place that prints, and the only one that exits.

May import every room below it.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Collection, Sequence
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer
from typer.exceptions import Abort, TyperException

from mlruntime import __version__
from mlruntime.cli import logs, output
from mlruntime.cli.context import Context, find_root
from mlruntime.errors import MlruntimeError

# In the order in which `--help` lists them, and what it says of each.
VERBS: Final = {
    "doctor": "Show what this host can do, and how to get what is missing",
    "matrix": "Show, check and extend the compatibility matrix",
    "resolve": "Choose the versions of a runtime, or explain the conflict",
    "lock": "Lock every artifact of a runtime, or check its lock",
    "build": "Build the image of a runtime from its lock",
    "env": "Make and manage environments: runtimes without containers",
    "validate": "Test an image on a cluster, or an environment",
    "cluster": "Run Spark clusters in containers or on Kubernetes",
    "release": "Publish validated images as versions of a runtime",
    "verify": "Check the signature and documents of a released image",
    "diff": "Show what changes from one image to another",
    "size": "Show what takes how much space in an image",
    "store": "Manage the store: downloads, compiled wheels, layers",
    "site": "Write a static site of all runtimes",
    "init": "Start a folder of definitions of your own",
    "import": "Make a first runtime.yaml from another tool's file",
    "ci": "Write CI workflows for your definitions",
}
INTERRUPTED = 130


def module_of(verb: str) -> str:
    """Return the name of a verb's module: `import` cannot be one."""
    return f"{verb}_" if iskeyword(verb) else verb


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mlruntime {__version__}")
        raise typer.Exit


def application(verbs: Collection[str] = VERBS.keys()) -> typer.Typer:
    """Return the command line; only these ``verbs`` can run, the others are just listed.

    Each verb imports what it needs. Importing all of that for every verb would take longer
    than a build that has nothing to do.
    """
    app = typer.Typer(
        name="mlruntime",
        help="Resolve, lock, build and test ML runtime images.",
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
            typer.Option(metavar="DIR", help="the folder with matrix.yaml, runtimes/ and images/"),
        ] = None,
        ca_bundle: Annotated[
            Path | None, typer.Option(metavar="FILE", help="CA certificates to trust for downloads")
        ] = None,
        verbose: Annotated[
            int,
            typer.Option(
                "-v",
                "--verbose",
                count=True,
                show_default=False,
                help="log each step and request; -vv: everything",
            ),
        ] = 0,
        quiet: Annotated[
            bool,
            typer.Option("-q", "--quiet", help="only results, warnings and errors, no progress"),
        ] = False,
        version: Annotated[
            bool,
            typer.Option("--version", is_eager=True, callback=_version, help="print the version"),
        ] = False,
    ) -> None:
        logs.show(verbose=verbose, quiet=quiet)
        ctx.obj = Context(root=find_root(root, Path.cwd()), ca_bundle=ca_bundle)
        logging.getLogger(__name__).info("definitions in %s", ctx.obj.root)

    for verb, summary in VERBS.items():
        if verb in verbs:
            import_module(f"mlruntime.cli.{module_of(verb)}").register(app)
        else:
            app.command(verb, short_help=summary)(_listed)
    return app


def _listed() -> NoReturn:
    """Stand for a verb that is not imported, because no word of the command names it."""
    raise AssertionError("a verb that runs is imported")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; ``docs/cli.md`` explains them."""
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        command = typer.main.get_command(application(VERBS.keys() & words))
        outcome = command.main(
            args=words,
            prog_name="mlruntime",
            standalone_mode=False,
        )
        output.flush()
    except TyperException as error:
        _usage(error)
        return 2
    except (Abort, KeyboardInterrupt):
        outcome = INTERRUPTED
    except MlruntimeError as error:
        print(f"mlruntime: {error}", file=sys.stderr)
        return error.exit_code
    except (BrokenPipeError, SystemExit):  # the parser turns the first into the second
        output.discard()
        return INTERRUPTED
    except Exception as error:
        return _bug(error)
    if outcome == INTERRUPTED:
        print("mlruntime: interrupted", file=sys.stderr)
    return outcome if isinstance(outcome, int) else 0


def _usage(error: TyperException) -> None:
    """Show a usage error in the words of the argument parser."""
    show = getattr(error, "show", None)
    if show is not None:
        show()
    else:
        print(f"mlruntime: {error}", file=sys.stderr)


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    # Ends like Ctrl-C, so that all clean-up code runs.
    raise KeyboardInterrupt


def _bug(error: Exception) -> int:
    import tempfile
    import traceback

    what = f"mlruntime: a bug in mlruntime: {type(error).__name__}: {error}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="mlruntime-", suffix=".traceback", delete=False, encoding="utf-8"
        ) as file:
            traceback.print_exc(file=file)
        print(f"{what}\n  try: report it with {file.name}", file=sys.stderr)
    except OSError:  # nowhere to write it
        traceback.print_exc()
        print(what, file=sys.stderr)
    return 1


def run() -> NoReturn:
    """Run as the console script."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _terminated)
    code = main()
    if threading.active_count() > 1:
        # For example a stalled connection. All clean-up is done, so do not wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
