"""``mlruntime matrix explore``: its options; what it needs is imported when it is called."""

import re
from pathlib import Path
from typing import Annotated

import typer

from mlruntime.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600}


def explore(
    ctx: typer.Context,
    runtime: Annotated[
        str, typer.Argument(metavar="RUNTIME", help="the runtime to vary, such as 6.0-ml")
    ],
    axes: Annotated[
        list[str],
        typer.Option(
            "--axis",
            metavar="COMPONENT=A..B|FILE",
            help="an axis, or a YAML file of axes; repeatable",
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="COMPONENT==VERSION",
            help="replace or add a line of the request in all combinations; repeatable",
        ),
    ] = None,
    ignore_rule: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="try what this rule forbids; repeatable"),
    ] = None,
    omit_unavailable: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COMPONENT", help="leave this component out if a registry lacks it; repeatable"
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="a check or family; repeatable")
    ] = None,
    variant: Annotated[str, typer.Option(metavar="VARIANT", help="cpu or gpu")] = "cpu",
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Spark workers to start")
    ] = 2,
    until: Annotated[
        str,
        typer.Option(metavar="LEVEL", help="the last stage: resolved, locked, built or cluster"),
    ] = "cluster",
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="start no combination that may take longer, such as 45m"),
    ] = None,
    most: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="try at most N combinations this time")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="try failed combinations again")] = False,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="where the state is kept (default: in the store)"),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="write the evidence into the definitions")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Try combinations of releases, and record the evidence.

    Each is locked, built and validated. Stop it at any time: the same command goes on from there.
    """
    # Imported here so that `matrix show` does not wait for the engine and the stages.
    from mlruntime.cli.matrix.exploring import Wishes, run
    from mlruntime.explore.stages import Trial

    wishes = Wishes(
        runtime=runtime,
        axes=tuple(axes),
        settings=tuple(settings or ()),
        ignored=tuple(ignore_rule or ()),
        trial=Trial(
            variant=variant,
            workers=workers,
            omit=tuple(omit_unavailable or ()),
            only=tuple(only or ()),
        ),
        until=until,
        budget=seconds(budget) if budget is not None else None,
        most=most,
        retry=retry,
        state=state,
        write=write,
        as_json=as_json,
    )
    run(ctx.obj, wishes)


def seconds(text: str) -> float:
    """Read ``45m``, ``1h30m`` or ``90s``; anything else is a ``UsageError``."""
    parts = re.findall(r"(\d+)([smh])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"--budget: {text!r} is not a time", hint="for example 45m, 1h30m or 90s")
    return float(sum(int(number) * _UNITS[unit] for number, unit in parts))
