"""``mlruntime env export``: what a runtime or an environment has, for other tools."""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from mlruntime.cli import output
from mlruntime.cli.context import Context
from mlruntime.cli.env.output import JSON
from mlruntime.cli.host import this_host
from mlruntime.cli.output import emit
from mlruntime.definitions.files import Definitions
from mlruntime.documents.reading import did_you_mean
from mlruntime.environment.description import is_environment
from mlruntime.environment.exporting import DOCKERFILE, FORMATS, REQUIREMENTS
from mlruntime.errors import UsageError
from mlruntime.host.nvml import read_gpus
from mlruntime.host.system import System
from mlruntime.image.difference import DEFAULT_VARIANT
from mlruntime.lock.model import CORE, tag
from mlruntime.store.store import Store, write_whole
from mlruntime.workflows.comparing import host_properties, inventory
from mlruntime.workflows.environment.exports import (
    Export,
    export,
    export_dockerfile,
    lock_to_export,
)
from mlruntime.workflows.environment.managing import Requested
from mlruntime.workflows.store.stores import store_root

# What `env diff` reads, and what other tools do.
_INVENTORY: Final = "inventory"
_FORMATS: Final = (*FORMATS, _INVENTORY)


def export_(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="PATH|RUNTIME", help="an environment, a runtime or a lock file")
    ],
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help=", ".join(_FORMATS))
    ] = REQUIREMENTS,
    variant: Annotated[
        str | None, typer.Option(metavar="VARIANT", help="of a runtime: cpu or gpu")
    ] = None,
    flavour: Annotated[
        str | None, typer.Option(metavar="FLAVOUR", help="core, or a flavour of the runtime")
    ] = None,
    output_: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="where to write it (default: standard output)"
        ),
    ] = None,
    wheels: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="copy all wheels into this directory, and refer to them"),
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="with dockerfile: the image to start from")
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Export an environment or runtime for other tools."""
    if format_ not in _FORMATS:
        raise UsageError(f"there is no format {format_!r}", hint=did_you_mean(format_, _FORMATS))
    context: Context = ctx.obj
    definitions = Definitions(context.root)
    if format_ == _INVENTORY:
        return _inventory(definitions, source, variant, flavour, output_, as_json=as_json)
    host = ctx.with_resource(this_host(context))
    lock, chosen = lock_to_export(definitions, source, variant, flavour)
    wanted = Export(format=format_, output=output_, wheels=wheels, base=base)
    if format_ == DOCKERFILE:
        requested = Requested(lock=lock, variant=chosen)
        written = export_dockerfile(definitions, source, requested, host, wanted, os.environ)
    else:
        there = Path(source) if is_environment(Path(source)) else None
        written = export(lock, chosen, host, wanted, there)
    for name, version, why in written.left_out:
        output.say(f"left out: {name} {version}; {why}")
    if output_ is not None:
        write_whole(output_, written.text)
    value = {
        "runtime": lock.runtime,
        "variant": chosen,
        "output": str(output_) if output_ else None,
        "text": None if output_ else written.text,
        "packages": [{"name": name, "version": version} for name, version in written.packages],
        "left_out": [
            {"name": name, "version": version, "why": why}
            for name, version, why in written.left_out
        ],
    }
    text = written.text.rstrip("\n")
    shown = f"{output_}: {len(written.packages)} packages" if output_ else text
    emit(value, shown, as_json)


def _inventory(
    definitions: Definitions,
    source: str,
    variant: str | None,
    flavour: str | None,
    output_: Path | None,
    *,
    as_json: bool,
) -> None:
    if not Path(source).exists():
        source = f"{source}:{tag(variant or DEFAULT_VARIANT, flavour or CORE)}"
    elif variant or flavour:
        raise UsageError(
            "an environment or a file has one variant and flavour", hint="leave the options out"
        )
    host = host_properties(System.here(), read_gpus())
    found = inventory(definitions, Store(store_root()), source, host)
    if output_ is not None:
        write_whole(output_, found.to_json())
    value = {"runtime": found.runtime, "variant": found.variant, "output": output_ and str(output_)}
    shown = f"{output_}: {found.runtime} ({found.variant})" if output_ else found.to_json()
    emit(value | {"text": None if output_ else found.to_json()}, shown.rstrip("\n"), as_json)
