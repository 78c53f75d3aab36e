"""The inputs of a runtime as values: what a definitions folder says, read and parsed."""

from mlruntime import __version__
from mlruntime.definitions.files import Definitions, read_text
from mlruntime.definitions.runtime import RuntimeDefinition, parse_runtime
from mlruntime.ecosystems.native.inputs import load_recipes
from mlruntime.errors import InvalidLock
from mlruntime.image.stack import Stack, parse_stack
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
from mlruntime.locking.request import LockRequest, ask
from mlruntime.locking.staleness import refuse_stale
from mlruntime.matrix.parsing import Matrix, parse_matrix
from mlruntime.resolve.resolution import resolve


def read_matrix(definitions: Definitions) -> Matrix:
    """Return the matrix."""
    text = read_text(definitions.root / "matrix.yaml", "matrix.yaml")
    return parse_matrix(text, file="matrix.yaml")


def read_runtime(definitions: Definitions, runtime: str, matrix: Matrix) -> RuntimeDefinition:
    """Return a runtime's definition; it must have the folder's name and the matrix's components."""
    path = definitions.folder(runtime) / "runtime.yaml"
    file = definitions.shown(path)
    definition = parse_runtime(read_text(path, file), file=file)
    definition.must_fit(runtime, matrix.components, file=file)
    return definition


def lock_request(definitions: Definitions, runtime: str) -> LockRequest:
    """Resolve a runtime and return what has to be locked for it."""
    matrix = read_matrix(definitions)
    definition = read_runtime(definitions, runtime, matrix)
    return ask(matrix, definition, resolve(matrix, definition.request))


def read_stack(definitions: Definitions) -> Stack:
    """Return the layers of an image."""
    return parse_stack(definitions.stack_text(), file="images/layers.yaml")


def libraries(definitions: Definitions) -> dict[str, str]:
    """Return our own Python distributions in an image; each has the builder's version."""
    return {layer.library: __version__ for layer in read_stack(definitions).layers if layer.library}


def read_lock(definitions: Definitions, runtime: str) -> Lock:
    """Return a runtime's lock as it is, stale or not."""
    shown = definitions.shown(definitions.lock_path(runtime))
    return parse_lock(definitions.lock_text(runtime), file=shown)


def fresh_lock(definitions: Definitions, runtime: str) -> Lock:
    """Return a runtime's lock; ``InvalidLock`` when it does not follow from its inputs any more."""
    lock = read_lock(definitions, runtime)
    shown = definitions.shown(definitions.lock_path(runtime))
    if lock.runtime != runtime:
        raise InvalidLock(
            f"this is the lock of {lock.runtime}",
            where=f"{shown}: runtime",
            hint=f"write it anew with `mlruntime lock {runtime}`",
        )
    recipes = load_recipes(definitions.images_folder())
    refuse_stale(lock, lock_request(definitions, runtime), recipes, file=shown)
    return lock
