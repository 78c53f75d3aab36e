"""Which packages are added to the runtime in an environment, changed in its place."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.pypi.requirements import without_hashes
from mlruntime.environment.description import Description, read_description, read_lock_of
from mlruntime.environment.linking import Linker
from mlruntime.environment.repairing import change
from mlruntime.environment.using import changing
from mlruntime.errors import InvalidLock
from mlruntime.lock.model import Lock
from mlruntime.workflows.environment.known import remember_environment
from mlruntime.workflows.environment.managing import (
    Requested,
    order_of,
    prepare,
    same_or_another,
)
from mlruntime.workflows.host import Host
from mlruntime.workflows.locked import fresh_lock
from mlruntime.workflows.planning import planned_image


def sync_environment(
    definitions: Definitions,
    root: Path,
    wanted: Callable[[Lock, Lock], Lock],
    host: Host,
    environ: Mapping[str, str],
) -> tuple[Description, tuple[str, ...]]:
    """Change which packages are added to the runtime in an environment; all others stay.

    Returns the environment, and the requirements that are added to its runtime now.
    ``wanted`` returns the new lock, given that of the runtime and the one that the environment has.
    Raises ``InvalidLock`` if the definitions have another lock by now.
    """
    with changing(root, host.say):
        found = read_description(root)
        own = read_lock_of(root)
        base = fresh_lock(definitions, found.runtime).cut(own.of_runtime.flavour)
        if base.digest != own.of_runtime.digest:
            raise InvalidLock(
                f"{found.runtime} has another lock than when this environment was made",
                where=str(root),
                hint=f"make it anew: `mlruntime env create {found.runtime} PATH --with FILE`",
            )
        lock = wanted(base, own)
        plan = planned_image(definitions, lock, found.variant)
        interpreter = same_or_another(found, plan, environ)
        with host.store.shared():
            requested = Requested(lock=lock, variant=found.variant)
            order = order_of(prepare(plan, lock, host, root), requested, root, interpreter)
            order = replace(order, description=structs.replace(order.description, made=found.made))
            change(root, order, Linker())
            remember_environment(host, root)
    added = (without_hashes(line) for f in lock.flavours for line in f.requirements)
    jars = (line for f in lock.flavours for line in f.jar_requirements)
    return order.description, (*added, *jars)
