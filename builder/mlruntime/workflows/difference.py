"""What is on each side of a ``diff``: a locked image, named in one of several ways."""

import tarfile
from pathlib import Path

from mlruntime.build.maker import cached_layer
from mlruntime.definitions.files import Definitions
from mlruntime.errors import CommandFailed, InvalidDefinition, InvalidLock, UsageError
from mlruntime.host.command import require, run
from mlruntime.image.difference import Difference, Named, Side, difference, parse_named
from mlruntime.image.plan import Plan
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
from mlruntime.store.store import Store
from mlruntime.workflows.locked import find_lock
from mlruntime.workflows.planning import planned_image


def compare(definitions: Definitions, store: Store, a: str, b: str) -> Difference:
    """Compare two images: ``RUNTIME[@REVISION][:VARIANT[-FLAVOUR]]``, or a lock file, each."""
    before, after = (side(definitions, store, parse_named(text)) for text in (a, b))
    return difference(before, after)


def side(definitions: Definitions, store: Store, named: Named) -> Side:
    """Return one side of a comparison, with the layers of it that the store has."""
    if named.revision is not None:
        with store.scratch() as scratch:
            lock, plan = _of_revision(definitions, named, scratch)
    else:
        lock = find_lock(definitions, named.what).cut(named.flavour)
        lock.variant(named.variant)
        plan = planned_image(definitions, lock, named.variant)
    blobs = {layer.key: blob for layer in plan.layers if (blob := cached_layer(store, layer))}
    return Side(name=named.text, lock=lock, plan=plan, blobs=blobs)


def _of_revision(definitions: Definitions, named: Named, scratch: Path) -> tuple[Lock, Plan]:
    """Return the lock and the plan of a revision of the definitions' git repository.

    Its layers come from ``images/`` of that revision: today's may name packages it lacks.
    """
    require("git", hint="install git, or name a lock file")
    file = f"runtimes/{named.what}/lock.json"
    text = _git(definitions.root, f"git has no {file}", named, "show", f"{named.revision}:./{file}")
    archive = scratch / "images.tar"
    _git(
        definitions.root, "git has no images/", named,
        "archive", "--format=tar", f"--output={archive}", str(named.revision), "images",
    )  # fmt: skip
    with tarfile.open(archive) as content:
        content.extractall(scratch, filter="data")
    try:
        lock = parse_lock(text, file=file).cut(named.flavour)
        lock.variant(named.variant)
        return lock, planned_image(Definitions(scratch), lock, named.variant)
    except (InvalidDefinition, InvalidLock) as error:
        raise type(error)(
            error.what,
            where=f"{named.revision}: {error.where}" if error.where else str(named.revision),
            why=error.why,
            hint="another release of mlruntime may have written this revision: use that one for it",
        ) from None


def _git(root: Path, what: str, named: Named, *words: str) -> str:
    """Run git in the definitions' folder; ``what`` is the error if git does not find it."""
    try:
        return run(["env", "LC_ALL=C", "git", "-C", str(root), *words])  # messages are read below
    except CommandFailed as error:
        why = error.why or ""
    if "dubious ownership" in why:
        raise UsageError(
            "git reads nothing in a folder of another user",
            where=str(root),
            why="its settings may run programs; git calls this dubious ownership",
            hint=f"if you trust it: git config --global --add safe.directory {root}",
        )
    if "not a git repository" in why:
        raise UsageError(f"{root} is not in a git repository")
    raise UsageError(f"{what} in revision {named.revision!r}", why=why)
