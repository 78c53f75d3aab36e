"""``mlruntime build``."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.host import JARS, REQUIREMENTS, this_host, with_added
from mlruntime.cli.output import emit, mb
from mlruntime.definitions.files import Definitions
from mlruntime.image.image import Image
from mlruntime.image.layout_writing import refuse_output, write_layout
from mlruntime.image.plan import Plan
from mlruntime.lock.model import CORE, Lock
from mlruntime.workflows.build import build_locked, reference
from mlruntime.workflows.inputs import budget
from mlruntime.workflows.locked import fresh_lock


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("build")(build)


def build(
    ctx: typer.Context,
    runtime: Annotated[
        str, typer.Argument(metavar="RUNTIME", help="the runtime's id, such as 6.0-ml")
    ],
    variant: Annotated[str, typer.Option(metavar="VARIANT", help="cpu or gpu")] = "cpu",
    flavour: Annotated[
        str, typer.Option(metavar="FLAVOUR", help="core, or a flavour of the runtime")
    ] = CORE,
    requirements: Annotated[Path | None, REQUIREMENTS] = None,
    jars: Annotated[Path | None, JARS] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="write an OCI layout into this directory")
    ] = None,
    load_: Annotated[bool, typer.Option("--load", help="put the image into the engine")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Build the image of a runtime from its lock."""
    started = time.monotonic()
    context: Context = ctx.obj
    if output is not None:
        refuse_output(output)
    definitions = Definitions(context.root)
    host = ctx.with_resource(this_host(context))
    lock = with_added(
        definitions, fresh_lock(definitions, runtime).cut(flavour), requirements, jars, host
    )
    built = build_locked(
        definitions,
        lock,
        variant,
        host,
        reference=reference(runtime, variant, lock.flavour),
        into_engine=load_,
        # What the runtime promises is about its own flavours.
        budget=None if requirements or jars else budget(definitions, runtime, variant, flavour),
    )
    if output is not None:
        write_layout(built.image, host.store, output)
    result = summary(built.plan, lock, built.image, time.monotonic() - started)
    if built.loaded is not None:
        result |= {"image_id": built.loaded.id, "sent": built.loaded.sent}
    emit(result, _text(result, built.image), as_json)


def summary(planned: Plan, lock: Lock, image: Image, seconds: float) -> dict[str, Any]:
    """Return the verb's JSON; sizes in bytes, compressed."""
    return {
        "runtime": planned.runtime,
        "variant": planned.variant,
        "flavour": planned.flavour,
        "reference": image.reference,
        "digest": image.manifest.digest,
        "image_id": image.config.digest,
        "lock_digest": lock.digest,
        "plan_digest": planned.digest,
        "size": image.size,
        "layers": [
            {
                "name": layer.name,
                "diff_id": layer.blob.diff_id,
                "digest": layer.blob.digest,
                "size": layer.blob.size,
                "unpacked": layer.blob.unpacked,
                "cached": layer.cached,
                "seconds": round(layer.seconds, 2),
            }
            for layer in image.layers
        ],
        "omitted": [{"component": o.component, "why": o.why} for o in lock.all_omitted],
        "seconds": round(seconds, 2),
    }


def _text(result: dict[str, Any], image: Image) -> str:
    lines = [f"{'layer':12} {'packed':>9} {'unpacked':>9}  from"]
    for layer in image.layers:
        origin = "store" if layer.cached else f"made in {layer.seconds:.1f} s"
        packed, unpacked = mb(layer.blob.size, 9), mb(layer.blob.unpacked, 9)
        lines.append(f"{layer.name:12} {packed} {unpacked}  {origin}")
    unpacked = mb(sum(layer.blob.unpacked for layer in image.layers), 9)
    lines.append(f"{'':12} {mb(image.size, 9)} {unpacked}")
    lines += [f"left out: {o['component']} ({o['why']})" for o in result["omitted"]]
    lines.append(f"{image.reference}  {image.manifest.digest}  in {result['seconds']:.1f} s")
    return "\n".join(lines)
