"""``mlruntime cluster notebook``."""

from pathlib import PurePosixPath
from typing import Annotated

import typer

from mlruntime.cli.cluster.options import JSON, NAME, Namespace, On, place, settings
from mlruntime.cli.output import emit, say
from mlruntime.cluster.notebook import NotebookOptions
from mlruntime.errors import UsageError
from mlruntime.workflows.cluster.places import CONTAINERS


def notebook(
    ctx: typer.Context,
    name: Annotated[str, NAME],
    stop: Annotated[
        bool, typer.Option("--stop", help="remove it, with the files that are in no volume")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=65535, help="the port of its address, on 127.0.0.1"),
    ] = None,
    directory: Annotated[
        str | None,
        typer.Option("--dir", metavar="DIR", help="keep its files there, in a volume"),
    ] = None,
    spark: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="a Spark setting of all notebooks; repeatable"),
    ] = None,
    on: On = CONTAINERS,
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Open JupyterLab on a cluster.

    Prints its address with the token, also if it runs already. Its notebooks are drivers on the
    cluster. The image must be of flavour notebook.
    """
    wanted = NotebookOptions(port=port, directory=_path(directory), settings=settings(spark) or {})
    if stop and wanted != NotebookOptions():
        raise UsageError("--stop takes no other options of a notebook")
    with place(ctx, on, namespace) as there:
        if stop:
            there.stop_notebook(name)
            emit({"cluster": name, "stopped": True}, f"cluster {name}: no notebook server", as_json)
            return
        found = there.notebook(name, wanted)
    if found.started and directory is None:
        say("its files are removed with it (--stop, `cluster down`); --dir keeps them in a volume")
    value = {"cluster": name, "address": found.address, "forward": found.forward,
             "started": found.started}  # fmt: skip
    emit(value, "\n".join(filter(None, (found.forward, found.address))), as_json)


def _path(directory: str | None) -> str | None:
    if directory is None:
        return None
    path = PurePosixPath(directory)
    if not path.is_absolute() or ".." in path.parts:
        raise UsageError(
            f"--dir {directory} is not the absolute path of a directory in a volume",
            hint="for example --dir /data/notebooks",
        )
    return str(path)
