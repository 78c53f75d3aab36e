"""What the verbs of ``mlruntime cluster`` share: options, and how results are shown."""

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Final

import typer

from mlruntime.cli.output import say, writable
from mlruntime.cluster.form import ClusterForm, with_flags
from mlruntime.cluster.jobs import OnLine
from mlruntime.definitions.files import Definitions
from mlruntime.engine.values import Stream
from mlruntime.errors import UsageError
from mlruntime.workflows.cluster.describing import cluster_text
from mlruntime.workflows.cluster.place import ClusterPlace
from mlruntime.workflows.cluster.places import place_of

JSON = typer.Option("--json", help="print the result as JSON")
NAME = typer.Argument(metavar="NAME", help="the cluster's name")
On = Annotated[str, typer.Option("--on", metavar="PLACE", help="containers or kubernetes")]
Namespace = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="with kubernetes: the namespace (default: the context's)"),
]
# What `up` and `render` are told of a cluster; each goes before what a file says.
Runtime = Annotated[
    str | None, typer.Argument(metavar="RUNTIME", help="the runtime's id, such as 6.0-ml")
]
File = Annotated[
    Path | None,
    typer.Option("-f", "--file", metavar="FILE", help="a cluster.yaml that describes it"),
]
ClusterName = Annotated[str, typer.Option(metavar="NAME", help="the cluster's name")]
Variant = Annotated[str | None, typer.Option(metavar="VARIANT", help="cpu or gpu")]
Flavour = Annotated[
    str | None, typer.Option(metavar="FLAVOUR", help="the flavour of the image, such as ml")
]
Workers = Annotated[int | None, typer.Option(metavar="N", help="how many workers")]
Cores = Annotated[int | None, typer.Option(metavar="N", help="cores of each worker")]
Memory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="memory of each worker, such as 4g")
]
GpusEach = Annotated[int | None, typer.Option(metavar="N", help="GPUs of each worker")]
DEFAULT_NAME: Final = "default"


def form_of(
    file: Path | None, flags: Mapping[str, object], *, image: str | None = None
) -> ClusterForm:
    """Return what a file and flags say of a cluster; ``InvalidDefinition`` for what is wrong."""
    if file is None:
        return with_flags(None, "the command line", flags, image=image)
    return with_flags(cluster_text(file), str(file), flags, image=image)


def settings(pairs: list[str] | None) -> dict[str, str] | None:
    """Return settings of Spark from ``KEY=VALUE``; ``UsageError`` for anything else."""
    found: dict[str, str] = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key.startswith("spark."):
            raise UsageError(f"{pair!r} is not a setting", hint="spark.sql.ansi.enabled=true")
        found[key] = value
    return found or None


def place(
    ctx: typer.Context, on: str, namespace: str | None
) -> AbstractContextManager[ClusterPlace]:
    """Return the place that ``--on`` and ``--namespace`` name, for a block."""
    return place_of(on, namespace, Definitions(ctx.obj.root), os.environ, say)


def passing(all_to_stderr: bool) -> OnLine:
    """Return what passes on a line that a program has written."""

    def pass_on(stream: Stream, line: str) -> None:
        out = sys.stdout if stream == "stdout" and not all_to_stderr else sys.stderr
        with writable():
            print(line, file=out, flush=True)

    return pass_on
