"""``mlruntime doctor``."""

from collections.abc import Sequence
from typing import Annotated

import typer

from builder.cli.context import Context
from builder.cli.output import emit
from builder.cli.stores import host_sources, store_root
from builder.doctor import Finding, can_build, examine
from builder.errors import Unavailable


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor")(doctor)


def doctor(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as JSON")] = False,
) -> None:
    """Say what this host can do, and what to do about what is missing."""
    context: Context = ctx.obj
    findings = examine(store_root(), lambda: host_sources(context.ca_bundle))
    able = can_build(findings)
    value = {"cpu": able, "findings": [finding.to_dict() for finding in findings]}
    emit(value, table(findings), as_json)
    if not able:
        raise typer.Exit(Unavailable.exit_code)


def table(findings: Sequence[Finding]) -> str:
    """Return the findings for people."""
    rows = []
    for finding in findings:
        optional = "" if finding.needed or finding.status == "ok" else " (CPU builds do without)"
        rows.append(f"{finding.name:<13} {finding.status:<8} {finding.found}{optional}")
        if finding.hint:
            rows.append(f"{'':<22} try: {finding.hint}")
    able = can_build(findings)
    rows += ["", "CPU images can be built here" if able else "CPU images cannot be built here yet"]
    return "\n".join(rows)
