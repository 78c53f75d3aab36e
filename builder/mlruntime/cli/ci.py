"""``mlruntime ci``: workflow files for the repository that has the definitions."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from mlruntime import __version__
from mlruntime.ci.rendering import SERVICES, PipelineRequest
from mlruntime.cli.context import Context
from mlruntime.cli.output import emit
from mlruntime.definitions.files import Definitions
from mlruntime.documents.reading import did_you_mean
from mlruntime.errors import UsageError
from mlruntime.workflows.ci import write_ci


def register(app: typer.Typer) -> None:
    """Add the verbs below ``ci``."""
    ci = typer.Typer(help="Write CI workflows for your definitions.", no_args_is_help=True)
    ci.callback()(lambda: None)  # else a single command would be the group
    ci.command("render")(render)
    app.add_typer(ci, name="ci")


def render(
    ctx: typer.Context,
    service: Annotated[str, typer.Option("--for", metavar="SERVICE", help=" or ".join(SERVICES))],
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="the repository; files go below .github or .gitlab")
    ],
    registry: Annotated[
        str | None,
        typer.Option(metavar="HOST/REPO", help="where releases go; without it there are none"),
    ] = None,
    requirements: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="install mlruntime from this requirements file, which has hashes",
        ),
    ] = None,
    branch: Annotated[
        str, typer.Option(metavar="NAME", help="the branch that is released from")
    ] = "main",
    runner: Annotated[
        str | None, typer.Option(metavar="LABEL", help="a runner with a container engine")
    ] = None,
    gpu_runner: Annotated[
        str | None, typer.Option(metavar="LABEL", help="a runner with GPUs, for gpu images")
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUNTIME=FILE",
            help="explore the axes in this file weekly, for evidence; repeatable",
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(metavar="NAME@DIGEST", help="with gitlab: the image that jobs run in"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Write CI workflows: check, build, validate, release.

    A nightly workflow proposes new upstream releases as a pull request.
    """
    context: Context = ctx.obj
    if service not in SERVICES:
        raise UsageError(
            f"there are no files for {service!r}", hint=did_you_mean(service, SERVICES)
        )
    wanted = PipelineRequest(
        version=__version__,
        branch=branch,
        requirements=requirements,
        registry=registry,
        runner=runner,
        gpu_runner=gpu_runner,
        sweeps=_sweeps(sweep or ()),
        image=image,
    )
    files = write_ci(Definitions(context.root), service, wanted, output)
    value = {"for": service, "output": str(output), "files": files}
    emit(value, "\n".join(str(output / one) for one in files), as_json)


def _sweeps(given: Iterable[str]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for text in given:
        runtime, equals, path = text.partition("=")
        if not (runtime and equals and path) or runtime in found:
            raise UsageError(f"{text!r} is not a sweep", where="--sweep", hint="RUNTIME=FILE, once")
        found[runtime] = path
    return tuple(found.items())
