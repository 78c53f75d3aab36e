"""A runtime's definition as values: the matrix and ``runtime.yaml``, read and parsed."""

import logging
from datetime import date
from typing import Final

from mlruntime.definitions.files import Definitions, read_text
from mlruntime.definitions.lifecycle import Lifecycle
from mlruntime.definitions.runtime import RuntimeDefinition, parse_runtime
from mlruntime.lock.model import tag
from mlruntime.matrix.delivery import delivered
from mlruntime.matrix.parsing import Matrix, parse_matrix

_LOG: Final = logging.getLogger(__name__)


def read_matrix(definitions: Definitions) -> Matrix:
    """Return the matrix."""
    text = read_text(definitions.root / "matrix.yaml", "matrix.yaml")
    matrix = parse_matrix(text, file="matrix.yaml")
    _LOG.debug("%d components, %d rules", len(matrix.components), len(matrix.rules))
    return matrix


def support(definitions: Definitions, runtime: str) -> Lifecycle | None:
    """Return a runtime's dates of support; ``None`` if none are given, or it is not ours."""
    if runtime not in definitions.runtimes():
        return None
    path = definitions.folder(runtime) / "runtime.yaml"
    file = definitions.shown(path)
    return parse_runtime(read_text(path, file), file=file).lifecycle


def support_warning(definitions: Definitions, runtime: str, today: date) -> str | None:
    """Return what who uses a runtime must know today, if its support has ended."""
    found = support(definitions, runtime)
    return found.warning(runtime, today) if found else None


def budget(definitions: Definitions, runtime: str, variant: str, flavour: str) -> int | None:
    """Return how many bytes an image may have, compressed; ``None`` if nothing is said of it."""
    path = definitions.folder(runtime) / "runtime.yaml"
    file = definitions.shown(path)
    return dict(parse_runtime(read_text(path, file), file=file).budgets).get(tag(variant, flavour))


def matrix_of(matrix: Matrix, definition: RuntimeDefinition) -> Matrix:
    """Return what the matrix says of a runtime's packages: of those it takes from channels, too."""
    return delivered(matrix, definition.conda.components)


def read_runtime(definitions: Definitions, runtime: str, matrix: Matrix) -> RuntimeDefinition:
    """Return a runtime's definition; it must have the folder's name and the matrix's components."""
    path = definitions.folder(runtime) / "runtime.yaml"
    file = definitions.shown(path)
    definition = parse_runtime(read_text(path, file), file=file)
    definition.must_fit(runtime, matrix.components, file=file)
    return definition
