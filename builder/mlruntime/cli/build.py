"""``mlruntime build``."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mlruntime.build.context import BuildContext
from mlruntime.build.stage import build as build_image
from mlruntime.cli.context import Context
from mlruntime.cli.output import emit, say
from mlruntime.cli.progress import downloads
from mlruntime.definitions.files import Definitions
from mlruntime.engine import Engine
from mlruntime.errors import UsageError
from mlruntime.image.image import Image, load, refuse_output, remember_manifest, write_layout
from mlruntime.image.plan import Plan
from mlruntime.lock.model import Artifact, Lock
from mlruntime.store.store import Store
from mlruntime.workflows.inputs import fresh_lock
from mlruntime.workflows.planning import planned_image
from mlruntime.workflows.stores import fetcher, store_root


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("build")(build)


def build(
    ctx: typer.Context,
    runtime: Annotated[str, typer.Argument(help="the runtime's id, say 6.0-ml")],
    variant: Annotated[str, typer.Option(help="cpu or gpu")] = "cpu",
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="write an OCI layout into this directory")
    ] = None,
    load_: Annotated[bool, typer.Option("--load", help="put the image into the engine")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Compose the image of a runtime from its lock."""
    started = time.monotonic()
    context: Context = ctx.obj
    if output is not None:
        refuse_output(output)
    definitions = Definitions(context.root)
    lock = fresh_lock(definitions, runtime)
    planned = planned_image(definitions, lock, variant)
    store = Store(store_root())
    shop = BuildContext(
        store=store,
        fetch=partial(fetched, store, context.ca_bundle),
        engine=cache(Engine.connect),
        say=say,
        images=definitions.image_files(),
    )
    sent: int | None = None
    try:
        image = build_image(
            planned, lock, shop, reference=reference(runtime, variant), created=created(lock)
        )
        if load_:
            say("loading the image into the engine")
            sent = load(image, store, shop.engine())
            remember_manifest(image, store)
    finally:
        shop.clear()
    if output is not None:
        write_layout(image, store, output)
    result = summary(planned, lock, image, time.monotonic() - started)
    if sent is not None:
        result["sent"] = sent
    emit(result, _text(result, image), as_json)


def fetched(
    store: Store, ca_bundle: Path | None, artifacts: Iterable[Artifact]
) -> Mapping[str, Path]:
    """Bring artifacts into the store from this host's registries; return files by sha256."""
    with downloads(say) as progress:
        return fetcher(store, ca_bundle).fetch_all(artifacts, progress)


def reference(runtime: str, variant: str) -> str:
    """Return the name an image has in the engine."""
    return f"mlruntime/{runtime}:{variant}"


def created(lock: Lock, environ: Callable[[str], str | None] = os.environ.get) -> str:
    """Return the image's time of creation: ``SOURCE_DATE_EPOCH``, else the lock's snapshot."""
    epoch = environ("SOURCE_DATE_EPOCH")
    if epoch is None:
        return lock.snapshot
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {epoch!r}", why="it must be a number of seconds since 1970"
        ) from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def summary(planned: Plan, lock: Lock, image: Image, seconds: float) -> dict[str, Any]:
    """Return the verb's JSON; sizes in bytes, compressed."""
    return {
        "runtime": planned.runtime,
        "variant": planned.variant,
        "reference": image.reference,
        "digest": image.manifest.digest,
        "image_id": image.config.digest,
        "lock_digest": lock.digest,
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
        "omitted": [{"component": o.component, "why": o.why} for o in lock.omitted],
        "seconds": round(seconds, 2),
    }


def _text(result: dict[str, Any], image: Image) -> str:
    lines = [f"{'layer':12} {'packed':>9} {'unpacked':>9}  from"]
    for layer in image.layers:
        origin = "store" if layer.cached else f"made in {layer.seconds:.1f} s"
        lines.append(f"{layer.name:12} {_mb(layer.blob.size)} {_mb(layer.blob.unpacked)}  {origin}")
    lines.append(f"{'':12} {_mb(image.size)} {_mb(sum(i.blob.unpacked for i in image.layers))}")
    lines += [f"left out: {o['component']} ({o['why']})" for o in result["omitted"]]
    lines.append(f"{image.reference}  {image.manifest.digest}  in {result['seconds']:.1f} s")
    return "\n".join(lines)


def _mb(size: int) -> str:
    return f"{size / 1e6:6.1f} MB"
