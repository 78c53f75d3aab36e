"""From a runtime's definition to its lock, and whether a lock is still the right one."""

from pathlib import Path

from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.native.inputs import load_recipes
from mlruntime.lock.model import CORE, Lock
from mlruntime.locking.request import LockRequest
from mlruntime.locking.staleness import input_digests, refuse_stale, stale, stale_artifacts
from mlruntime.store.store import storage_errors, write_whole
from mlruntime.workflows.host import Host
from mlruntime.workflows.locked import read_lock

_INSTEAD = "lock in a folder of yours, with --root"


def make_lock(
    definitions: Definitions,
    request: LockRequest,
    host: Host,
    omit: tuple[str, ...] = (),
    keep: Lock | None = None,
) -> Lock:
    """Ask the registries; components in ``omit`` may be left out if a registry lacks them.

    ``keep`` is a lock whose core stays as it is: only the flavours are locked anew.
    """
    # Imported late: only what asks registries needs apt's and pip's formats.
    from mlruntime.locking.assembly import assemble
    from mlruntime.locking.flavours import with_flavours

    recipes = load_recipes(definitions.images_folder())
    with host.store.shared(), host.registries() as registries:
        core = (
            keep.cut(CORE)
            if keep is not None
            else assemble(
                request,
                inputs=input_digests(request, recipes),
                recipes=recipes,
                registries=registries,
                omit=omit,
                say=host.say,
            )
        )
        return with_flavours(
            core, request, recipes=recipes, registries=registries, omit=omit, say=host.say
        )


def core_to_keep(definitions: Definitions, request: LockRequest) -> Lock:
    """Return the core of the lock that is there; ``InvalidLock`` if it is stale itself."""
    core = read_lock(definitions, request.runtime).cut(CORE)
    shown = definitions.shown(definitions.lock_path(request.runtime))
    refuse_stale(core, request.core, load_recipes(definitions.images_folder()), file=shown)
    return core


def reasons_to_lock(
    definitions: Definitions, lock: Lock, request: LockRequest, host: Host | None = None
) -> tuple[str, ...]:
    """Return a sentence for each reason why the lock is stale; with a host, ask registries too."""
    found = stale(lock, request, load_recipes(definitions.images_folder()))
    if host is not None:
        omit = tuple(omission.component for omission in lock.all_omitted)
        found += stale_artifacts(lock, make_lock(definitions, request, host, omit))
    return found


def write_if_changed(path: Path, text: str) -> bool:
    """Replace a file in one step, unless it already holds ``text``; return whether it changed."""
    with storage_errors(path.parent, instead=_INSTEAD):
        if path.is_file() and path.read_bytes() == text.encode():
            return False
    write_whole(path, text, instead=_INSTEAD)
    return True
