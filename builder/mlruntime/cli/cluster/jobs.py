"""``mlruntime cluster submit`` and ``shell``: programs on a cluster."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlruntime.cli.cluster.options import JSON, NAME, Namespace, On, passing, place, settings
from mlruntime.cli.output import emit
from mlruntime.cluster.jobs import Job
from mlruntime.errors import UsageError
from mlruntime.workflows.cluster.places import CONTAINERS


def submit(
    ctx: typer.Context,
    name: Annotated[str, NAME],
    program: Annotated[
        str,
        typer.Argument(
            metavar="PROGRAM", help="a .py or .jar file; local:PATH for one in the image"
        ),
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGUMENT…", help="arguments of the program")
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", metavar="FILE", help="a file for all nodes; repeatable"),
    ] = None,
    py_files: Annotated[
        list[Path] | None,
        typer.Option("--py-file", metavar="FILE", help="a .py or .zip file to import; repeatable"),
    ] = None,
    archives: Annotated[
        list[Path] | None,
        typer.Option(
            "--archive", metavar="FILE", help="an archive to unpack on all nodes; repeatable"
        ),
    ] = None,
    main_class: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="the main class of a jar")
    ] = None,
    spark: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="a Spark setting; repeatable")
    ] = None,
    detached: Annotated[
        bool, typer.Option("--detach", help="do not wait; `cluster logs NAME JOB --follow` does")
    ] = False,
    on: On = CONTAINERS,
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Run a program on a cluster.

    Options come before NAME. The exit code is the program's. So are standard output and standard
    error, but Kubernetes joins both on standard output, and --json on standard error.
    """
    job = Job(
        program=program,
        arguments=tuple(arguments or ()),
        files=tuple(files or ()),
        py_files=tuple(py_files or ()),
        archives=tuple(archives or ()),
        main_class=main_class,
        settings=settings(spark),
    )
    job.sent()
    with place(ctx, on, namespace) as there:
        if detached:
            ident = there.detach(name, job)
            emit({"cluster": name, "job": ident}, ident, as_json)
            return
        ended = there.submit(name, job, passing(as_json))
    if as_json:
        emit({"cluster": name, "job": ended.job, "exit_code": ended.exit_code}, "", as_json=True)
    if ended.exit_code:
        raise typer.Exit(ended.exit_code)


def shell(
    ctx: typer.Context,
    name: Annotated[str, NAME],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND…", help="such as spark-shell or bash (default: pyspark)"),
    ] = None,
    on: On = CONTAINERS,
    namespace: Namespace = None,
) -> None:
    """Open pyspark, or run another command, on a cluster.

    Options come before NAME.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "a shell needs a terminal", hint="run a program: `mlruntime cluster submit`"
        )
    argv = ["/opt/entrypoint.sh", *(command or ["pyspark"])]
    with place(ctx, on, namespace) as there:
        code = there.shell(name, argv, (sys.stdin.fileno(), sys.stdout.fileno()))
    if code:
        raise typer.Exit(code)
