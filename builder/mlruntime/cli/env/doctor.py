"""``mlruntime env doctor``: does this host run an environment that is there?"""

from pathlib import Path
from typing import Annotated

import typer

from mlruntime.cli.context import absolute
from mlruntime.cli.doctor import finding_rows, verdict_rows
from mlruntime.cli.env.output import JSON, PATH
from mlruntime.cli.output import emit
from mlruntime.errors import Unavailable
from mlruntime.host.nvml import read_gpus
from mlruntime.host.system import System
from mlruntime.workflows.examining import examine_here


def doctor(path: Annotated[Path, PATH], as_json: Annotated[bool, JSON] = False) -> None:
    """Check whether this host has what an environment needs.

    Exits with 6 if it has not. `env verify` checks the environment's own files.
    """
    root = absolute(path)
    found = examine_here(root, System.here(), read_gpus)
    made = found.environment
    virtual = ", ".join(f"{name}={version}" for name, version in found.virtual.items())
    can = "can" if found.able else "cannot"
    rows = [
        *finding_rows(found.findings, "it runs all the same"),
        f"this host has {virtual}",
        "",
        f"this host {can} run {made.runtime} ({made.variant})",
        *(row for verdict in found.judgement.verdicts for row in verdict_rows(verdict)),
    ]
    value = {
        "path": str(root),
        "able": found.able,
        "findings": [finding.to_dict() for finding in found.findings],
        "virtual_packages": found.virtual,
        "contract": found.contract.to_dict() if found.contract else None,
        "verdicts": [verdict.to_dict() for verdict in found.judgement.verdicts],
    }
    emit(value, "\n".join(rows), as_json)
    if not found.able:
        raise typer.Exit(Unavailable.exit_code)
