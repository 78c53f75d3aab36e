"""A runtime's lock and its layers as values, and whether the lock is still the right one."""

import logging
from pathlib import Path
from typing import Final

from mlruntime import __version__
from mlruntime.definitions.files import Definitions, read_text
from mlruntime.ecosystems.native.inputs import load_recipes
from mlruntime.errors import InvalidLock, UsageError
from mlruntime.image.sources.literal import LibrarySource
from mlruntime.image.stack import Stack, parse_stack
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
from mlruntime.locking.request import LockRequest, ask
from mlruntime.locking.staleness import refuse_stale
from mlruntime.resolve.resolution import resolve
from mlruntime.workflows.inputs import matrix_of, read_matrix, read_runtime

_LOG: Final = logging.getLogger(__name__)


def lock_request(definitions: Definitions, runtime: str) -> LockRequest:
    """Resolve a runtime and return what has to be locked for it."""
    whole = read_matrix(definitions)
    definition = read_runtime(definitions, runtime, whole)
    matrix = matrix_of(whole, definition)
    resolution = resolve(matrix, definition.request)
    _LOG.info("%s: resolved %d components", runtime, len(resolution.versions))
    return ask(matrix, definition, resolution)


def read_stack(definitions: Definitions) -> Stack:
    """Return the layers of an image."""
    return parse_stack(definitions.stack_text(), file="images/layers.yaml")


def libraries(definitions: Definitions) -> dict[str, str]:
    """Return our own Python distributions in an image; each has the builder's version."""
    layers = read_stack(definitions).layers
    return {x.library: __version__ for x in layers if isinstance(x, LibrarySource)}


def read_lock(definitions: Definitions, runtime: str) -> Lock:
    """Return a runtime's lock as it is, stale or not."""
    shown = definitions.shown(definitions.lock_path(runtime))
    return parse_lock(definitions.lock_text(runtime), file=shown)


def find_lock(definitions: Definitions, named: str) -> Lock:
    """Return the lock in a file, or that of a runtime; ``UsageError`` when there is neither."""
    path = Path(named)
    if path.is_file():
        return parse_lock(read_text(path, named, InvalidLock), file=named)
    if path.suffix == ".json" or len(path.parts) > 1:
        raise UsageError(f"there is no lock file {named}")
    return read_lock(definitions, named)


def fresh_lock(definitions: Definitions, runtime: str) -> Lock:
    """Return a runtime's lock; ``InvalidLock`` when it does not follow from its inputs any more."""
    lock = read_lock(definitions, runtime)
    shown = definitions.shown(definitions.lock_path(runtime))
    if lock.runtime != runtime:
        raise InvalidLock(
            f"this is the lock of {lock.runtime}",
            where=f"{shown}: runtime",
            hint=f"run `mlruntime lock {runtime}`",
        )
    recipes = load_recipes(definitions.images_folder())
    _LOG.debug("%s: is it stale? resolving again", shown)
    refuse_stale(lock, lock_request(definitions, runtime), recipes, file=shown)
    return lock
