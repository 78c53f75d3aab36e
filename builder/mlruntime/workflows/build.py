"""From a lock to an image in the store, and into the engine."""

from dataclasses import dataclass
from datetime import UTC, datetime

from mlruntime.build.context import BuildContext
from mlruntime.build.stage import build as build_image
from mlruntime.definitions.files import Definitions
from mlruntime.errors import UsageError
from mlruntime.image.config import tag
from mlruntime.image.image import Image, Loaded, load, remember_manifest
from mlruntime.image.plan import Plan
from mlruntime.lock.model import CORE, Lock
from mlruntime.workflows.host import Host, Say
from mlruntime.workflows.planning import planned_image
from mlruntime.workflows.uses import remember


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
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
    record: Say = lambda _: None,
) -> Built:
    """Compose the image of one variant of a lock, which is cut for its flavour.

    ``record`` gets every line that a build tool writes.

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
    with host.store.shared():
        try:
            image = build_image(plan, lock, context, reference=reference, created=made)
            if into_engine:
                host.say("loading the image into the engine")
                loaded = load(image, host.store, host.engine())
                remember_manifest(image, host.store)
        finally:
            context.clear()
        remember(host.store, plan, lock, image)
    return Built(plan=plan, image=image, loaded=loaded)


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
