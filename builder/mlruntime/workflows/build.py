"""From a lock to an image in the store, and into the engine."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from mlruntime.build.context import BuildContext
from mlruntime.build.maker import cached_layer
from mlruntime.build.stage import build as build_image
from mlruntime.definitions.files import Definitions
from mlruntime.errors import UsageError, ValidationFailed
from mlruntime.image.image import Image, Loaded, load, remember_manifest
from mlruntime.image.plan import Plan
from mlruntime.lock.model import CORE, Lock, tag
from mlruntime.workflows.host import Host
from mlruntime.workflows.planning import planned_image
from mlruntime.workflows.store.uses import remember


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltImage:
    """A finished image and its plan; ``loaded`` is set when the engine was given it."""

    plan: Plan
    image: Image
    loaded: Loaded | None


def build_locked(
    definitions: Definitions,
    lock: Lock,
    variant: str,
    host: Host,
    *,
    reference: str,
    into_engine: bool = False,
    budget: int | None = None,
    record: Callable[[str], None] = lambda _: None,
) -> BuiltImage:
    """Compose the image of one variant of a lock, which is cut for its flavour.

    ``record`` gets every line that a build tool writes. An image with more than ``budget`` bytes,
    compressed, raises ``ValidationFailed``, before anything is made if its layers that are there
    have as many.

    Nothing runs in the engine if the store has the result. Intermediate images are always
    removed.
    """
    plan = planned_image(definitions, lock, variant)
    made = created(lock, host.epoch)
    context = BuildContext(
        store=host.store,
        fetch=host.fetch,
        engine=host.engine,
        say=host.say,
        images=definitions.image_files(),
        record=record,
    )
    loaded: Loaded | None = None
    there = [(x.name, blob.size) for x in plan.layers if (blob := cached_layer(host.store, x))]
    refuse_over(plan, there, budget)
    with host.store.shared():
        try:
            image = build_image(plan, lock, context, reference=reference, created=made)
            refuse_over(plan, [(x.name, x.blob.size) for x in image.layers], budget)
            if into_engine:
                host.say("loading the image into the engine")
                loaded = load(image, host.store, host.engine())
                remember_manifest(image, host.store)
        finally:
            context.clear()
        remember(host.store, plan, lock, image)
    return BuiltImage(plan=plan, image=image, loaded=loaded)


def refuse_over(plan: Plan, layers: list[tuple[str, int]], budget: int | None) -> None:
    """Raise ``ValidationFailed`` for layers that together have more bytes than a budget."""
    size = sum(number for _, number in layers)
    if budget is None or size <= budget:
        return
    largest = sorted(layers, key=lambda layer: -layer[1])[:3]
    raise ValidationFailed(
        f"the image has {size / 1e6:.0f} MB, compressed; its budget is {budget / 1e6:.0f} MB",
        where=f"runtimes/{plan.runtime}/runtime.yaml: budgets.{tag(plan.variant, plan.flavour)}",
        why="the largest layers: " + ", ".join(f"{n} {s / 1e6:.0f} MB" for n, s in largest),
        hint=f"`mlruntime size {plan.runtime} --variant {plan.variant} --flavour {plan.flavour}`"
        " lists layers and packages",
    )


def reference(runtime: str, variant: str, flavour: str = CORE) -> str:
    """Return the name an image has in the engine."""
    return f"mlruntime/{runtime}:{tag(variant, flavour)}"


def created(lock: Lock, epoch: str | None) -> str:
    """Return the image's time of creation: ``SOURCE_DATE_EPOCH``, else the lock's snapshot."""
    if epoch is None:
        return lock.snapshot
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {epoch!r}", why="it must be a number of seconds since 1970"
        ) from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
