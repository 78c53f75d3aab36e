"""Making, using, checking and removing one environment."""

import os
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mlruntime.cli import output
from mlruntime.cli.context import Context, absolute
from mlruntime.cli.env.output import JSON, PATH, summary, text
from mlruntime.cli.host import JARS, REQUIREMENTS, this_host, with_added
from mlruntime.cli.output import emit
from mlruntime.definitions.files import Definitions
from mlruntime.documents.tables import Table, plain
from mlruntime.environment.description import read_description, read_files
from mlruntime.environment.kernel import default_name, install_kernel, kernels
from mlruntime.environment.packing import pack as write_archive
from mlruntime.environment.packing import refuse_archive
from mlruntime.environment.personal import fish_script, posix_script
from mlruntime.environment.repairing import remove as remove_environment
from mlruntime.environment.shells import shell_command
from mlruntime.environment.using import changing, reading
from mlruntime.environment.verification import differences
from mlruntime.errors import UsageError, ValidationFailed
from mlruntime.host.command import replace_process
from mlruntime.lock.model import CORE
from mlruntime.store.store import Store
from mlruntime.workflows.environment.known import (
    described,
    forget_environment,
    known_environments,
)
from mlruntime.workflows.environment.managing import (
    Requested,
    create_environment,
    repair_environment,
    unpack_environment,
)
from mlruntime.workflows.locked import fresh_lock
from mlruntime.workflows.store.stores import store_root


def create(
    ctx: typer.Context,
    runtime: Annotated[
        str, typer.Argument(metavar="RUNTIME", help="the runtime's id, such as 6.0-ml")
    ],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="the directory to make")],
    variant: Annotated[str, typer.Option(metavar="VARIANT", help="cpu or gpu")] = "cpu",
    flavour: Annotated[
        str, typer.Option(metavar="FLAVOUR", help="core, or a flavour of the runtime")
    ] = CORE,
    requirements: Annotated[Path | None, REQUIREMENTS] = None,
    jars: Annotated[Path | None, JARS] = None,
    python: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="the Python to use (default: one that is found)"),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Make an environment from the lock of a runtime."""
    started = time.monotonic()
    context: Context = ctx.obj
    definitions = Definitions(context.root)
    host = ctx.with_resource(this_host(context))
    lock = with_added(
        definitions, fresh_lock(definitions, runtime).cut(flavour), requirements, jars, host
    )
    requested = Requested(lock=lock, variant=variant, python=python)
    made = create_environment(definitions, requested, absolute(path), host, os.environ)
    seconds = time.monotonic() - started
    emit(summary(made) | {"seconds": round(seconds, 2)}, text(made, seconds), as_json)


def run(
    path: Annotated[Path, PATH],
    words: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="the command to run")],
) -> None:
    """Run a command in an environment.

    The exit code is that of the command.
    """
    root = absolute(path)
    settings = read_description(root).settings(root)
    output.flush()
    command = words[1:] if words[0] == "--" else words
    if not command:
        raise UsageError("no command given", hint="`mlruntime env run PATH -- python train.py`")
    replace_process(command, settings.applied(os.environ))


def shell(path: Annotated[Path, PATH]) -> None:
    """Start a shell in an environment."""
    root = absolute(path)
    settings = read_description(root).settings(root)
    chosen = os.environ.get("SHELL") or "/bin/sh"
    if sys.stdin.isatty():
        words, environ = shell_command(chosen, settings, os.environ)
    else:  # it reads commands, and no startup files
        words, environ = [chosen], settings.applied(os.environ)
    replace_process(words, environ)


def activate(
    path: Annotated[Path, PATH],
    fish: Annotated[
        bool, typer.Option("--fish", help="print code for fish, not for bash and zsh")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Print shell code that activates an environment.

    Use it so: `eval "$(mlruntime env activate ./ml)"`.
    """
    root = absolute(path)
    settings = read_description(root).settings(root)
    text = fish_script(settings) if fish else posix_script(settings)
    value = {
        "set": dict(settings.set),
        "before": {n: list(v) for n, v in settings.extended.items()},
    }
    emit(value, text.rstrip("\n"), as_json)


def verify(
    path: Annotated[Path, PATH],
    quick: Annotated[
        bool, typer.Option("--quick", help="trust files whose size and date are right")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Check every file of an environment against its list.

    Exits with 7 if a file differs. It finds damage and accidental changes, not somebody who
    also changes the list.
    """
    root = absolute(path)
    with reading(root, output.say):
        made = read_description(root)
        found = differences(root, read_files(root), quick=quick)
    lines = [f"{kind}: {name}" for kind, names in asdict(found).items() for name in names]
    damaged, added = len(found.damaged), len(found.added)
    lines.append(
        f"{made.runtime} ({made.variant}) in {root}: "
        + (f"{damaged} files are not as locked" if damaged else "every file is as locked")
        + (f", {added} more were added" if added else "")
    )
    value = {"path": str(root), "runtime": made.runtime, "lock_digest": made.lock, **asdict(found)}
    emit(value, "\n".join(lines), as_json)
    if damaged:
        raise ValidationFailed(
            f"{damaged} files are not as locked",
            where=str(root),
            hint=f"`mlruntime env repair {shlex.quote(str(path))}`",
        )


def repair(
    ctx: typer.Context,
    path: Annotated[Path, PATH],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Put back files that were changed or removed.

    Run it also after you have moved the environment or its Python.
    """
    context: Context = ctx.obj
    root = absolute(path)
    host = ctx.with_resource(this_host(context))
    mended = repair_environment(Definitions(context.root), root, host, os.environ)
    text = "\n".join([*(f"put back: {name}" for name in mended), f"{root} is as locked"])
    emit({"path": str(root), "repaired": list(mended)}, text, as_json)


def pack(
    path: Annotated[Path, PATH],
    output_: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="NAME.tar or NAME.tar.gz")
    ],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Pack an environment into one archive.

    The host that unpacks it needs neither a network nor mlruntime.
    """
    root, archive = absolute(path), absolute(output_)
    refuse_archive(archive)
    with reading(root, output.say):
        size = write_archive(root, archive)
    text = f"{archive}: {size / 1e6:.0f} MB; there: tar -xf {archive.name}, sh */unpack.sh"
    emit({"archive": str(archive), "size": size}, text, as_json)


def unpack(
    ctx: typer.Context,
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="what `env pack` wrote")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="the directory to make")],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Make an environment from an archive.

    Without mlruntime, run the `unpack.sh` in the archive.
    """
    started = time.monotonic()
    if not archive.is_file():
        raise UsageError("there is no such file", where=str(archive))
    host = ctx.with_resource(this_host(ctx.obj))
    made = unpack_environment(archive, absolute(path), host, os.environ)
    seconds = time.monotonic() - started
    text = f"{made.runtime} ({made.variant}) with Python {made.python} in {made.path}"
    emit(summary(made) | {"seconds": round(seconds, 2)}, text, as_json)


def list_(as_json: Annotated[bool, JSON] = False) -> None:
    """List the environments made with this host's store."""
    found = tuple(described(known_environments(Store(store_root()))))
    rows = tuple((str(root), one.runtime, one.variant, one.python) for root, one, _ in found if one)
    columns = ("path", "runtime", "variant", "python")
    value = [
        ({"problem": why} if one is None else summary(one)) | {"path": str(root)}
        for root, one, why in found
    ]
    text = plain(Table(title="Environments", columns=columns, rows=rows))
    lines = [f"{root}: {why}" for root, one, why in found if one is None]
    emit({"environments": value}, "\n".join([text, *lines]), as_json)


def remove(
    path: Annotated[Path, PATH],
    force: Annotated[
        bool, typer.Option("--force", help="also remove your own files in it")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Remove an environment; the store keeps what it was made of."""
    root, store = absolute(path), Store(store_root())
    if not root.exists() and forget_environment(store, root):
        return emit({"removed": str(root)}, f"{root} is gone: `env list` forgets it", as_json)
    with changing(root, output.say):
        read_description(root)
        added = () if force else differences(root, read_files(root), quick=True).added
        remove_environment(root, added, force=force)
    forget_environment(store, root)
    emit({"removed": str(root)}, f"removed {root}", as_json)


def kernel(
    path: Annotated[Path, PATH],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="the kernel's name (default: from the directory's)"),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="what Jupyter shows (default: runtime and directory)"),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Add an environment to your Jupyter as a kernel.

    A kernel of the same name is replaced.
    """
    root = absolute(path)
    found = read_description(root)
    chosen = name or default_name(root)
    shown = title or f"{found.runtime} ({root.name})"
    where = kernels(os.environ, Path.home())
    written = install_kernel(root, shown, chosen, where)
    emit(
        {"name": chosen, "title": shown, "file": str(written)},
        f"{shown}: {written}\nremove it with `rm -r {shlex.quote(str(written.parent))}`",
        as_json,
    )
