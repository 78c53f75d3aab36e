"""``mlruntime cluster render``."""

from pathlib import Path
from typing import Annotated

import typer

from mlruntime.cli.cluster.options import (
    DEFAULT_NAME,
    ClusterName,
    Cores,
    File,
    Flavour,
    GpusEach,
    Memory,
    Runtime,
    Variant,
    Workers,
    form_of,
)
from mlruntime.cli.context import Context
from mlruntime.cli.output import emit, say
from mlruntime.cluster.form import good_name
from mlruntime.cluster.rendering import PLACES
from mlruntime.definitions.files import Definitions
from mlruntime.documents.reading import did_you_mean
from mlruntime.errors import UsageError
from mlruntime.workflows.cluster.describing import render_cluster


def render(
    ctx: typer.Context,
    place: Annotated[str, typer.Option("--for", metavar="PLACE", help=", ".join(PLACES))],
    output: Annotated[Path, typer.Option(metavar="DIR", help="the directory to write into")],
    runtime: Runtime = None,
    file: File = None,
    name: ClusterName = DEFAULT_NAME,
    image: Annotated[
        str | None,
        typer.Option(metavar="REGISTRY/NAME@DIGEST", help="the image that is pulled there"),
    ] = None,
    variant: Variant = None,
    flavour: Flavour = None,
    workers: Workers = None,
    cores: Cores = None,
    memory: Memory = None,
    gpus: GpusEach = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Write files that start a cluster elsewhere.

    For Compose, Kubernetes, hosts and SLURM. Existing files are replaced, except those called
    secret….
    """
    context: Context = ctx.obj
    good_name(name, UsageError)
    if place not in PLACES:
        raise UsageError(f"there are no files for {place!r}", hint=did_you_mean(place, PLACES))
    flags = {"runtime": runtime, "variant": variant, "flavour": flavour, "workers": workers,
             "cores": cores, "memory": memory, "gpus": gpus}  # fmt: skip
    form = form_of(file, flags)
    made = render_cluster(Definitions(context.root), form, place, name, output, image=image)
    for what in made.left_out:
        say(f"{what} is not part of the files for {place}")
    value = {"for": place, "output": str(output), "files": list(made.names),
             "left_out": list(made.left_out)}  # fmt: skip
    emit(value, "\n".join(str(output / one) for one in made.names), as_json)
