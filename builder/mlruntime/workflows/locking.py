"""From a runtime's definition to its lock, and whether a lock is still the right one."""

from pathlib import Path

from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.native.inputs import load_recipes
from mlruntime.lock.model import Lock
from mlruntime.locking.request import LockRequest
from mlruntime.locking.staleness import input_digests, stale, stale_artifacts
from mlruntime.store.store import full_disk, write_whole
from mlruntime.workflows.host import Host

_INSTEAD = "lock in a folder of yours, with --root"


def make_lock(
    definitions: Definitions, request: LockRequest, host: Host, omit: tuple[str, ...] = ()
) -> Lock:
    """Ask the registries; components in ``omit`` may be left out if a registry lacks them."""
    # Imported late: only what asks registries needs apt's and pip's formats.
    from mlruntime.locking.assembly import assemble

    recipes = load_recipes(definitions.images_folder())
    with host.store.shared(), host.registries() as registries:
        return assemble(
            request,
            inputs=input_digests(request, recipes),
            recipes=recipes,
            registries=registries,
            omit=omit,
            say=host.say,
        )


def reasons_to_lock(
    definitions: Definitions, lock: Lock, request: LockRequest, host: Host | None = None
) -> tuple[str, ...]:
    """Return a sentence for each reason why the lock is stale; with a host, ask registries too."""
    found = stale(lock, request, load_recipes(definitions.images_folder()))
    if host is not None:
        omit = tuple(omission.component for omission in lock.omitted)
        found += stale_artifacts(lock, make_lock(definitions, request, host, omit))
    return found


def write_if_changed(path: Path, text: str) -> bool:
    """Replace a file in one step, unless it already holds ``text``; return whether it changed."""
    with full_disk(path.parent, instead=_INSTEAD):
        if path.is_file() and path.read_bytes() == text.encode():
            return False
    write_whole(path, text, instead=_INSTEAD)
    return True
