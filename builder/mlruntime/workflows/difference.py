"""What is on each side of a ``diff``: a locked image, named in one of several ways."""

from pathlib import Path

from mlruntime.build.stage import cached_layer
from mlruntime.definitions.files import Definitions, read_text
from mlruntime.errors import CommandFailed, InvalidLock, UsageError
from mlruntime.host.command import require, run
from mlruntime.image.difference import Difference, Named, Side, difference, parse_named
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
from mlruntime.store.store import Store
from mlruntime.workflows.locked import read_lock
from mlruntime.workflows.planning import planned_image


def compare(definitions: Definitions, store: Store, a: str, b: str) -> Difference:
    """Compare two images: ``RUNTIME[:VARIANT]``, ``RUNTIME@REVISION``, or a lock file each."""
    before, after = (_side(definitions, store, parse_named(text)) for text in (a, b))
    return difference(before, after)


def _side(definitions: Definitions, store: Store, named: Named) -> Side:
    lock = _lock(definitions, named)
    lock.variant(named.variant)
    plan = planned_image(definitions, lock, named.variant)
    blobs = {layer.key: blob for layer in plan.layers if (blob := cached_layer(store, layer))}
    return Side(name=named.text, lock=lock, plan=plan, blobs=blobs)


def _lock(definitions: Definitions, named: Named) -> Lock:
    path = Path(named.what)
    if named.revision is None and path.is_file():
        return parse_lock(read_text(path, named.what, InvalidLock), file=named.what)
    if named.revision is None and (path.suffix == ".json" or len(path.parts) > 1):
        raise UsageError(f"there is no lock file {named.what}")
    if named.revision is not None:
        return _of_revision(definitions, named)
    return read_lock(definitions, named.what)


def _of_revision(definitions: Definitions, named: Named) -> Lock:
    """Read the lock that a runtime had in a revision of the definitions' git repository.

    Its layers are those that the present ``images/`` would give it.
    """
    require("git", hint="install git, or name a lock file")
    file = f"runtimes/{named.what}/lock.json"
    words = ["git", "-C", str(definitions.root), "show", f"{named.revision}:./{file}"]
    try:
        text = run(words)
    except CommandFailed as error:
        raise UsageError(
            f"git has no {file} in revision {named.revision!r}", why=error.why
        ) from None
    return parse_lock(text, file=f"{named.revision}:{file}")
