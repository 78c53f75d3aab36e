"""A first ``runtime.yaml`` from a file of another tool."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlruntime.definitions.files import Definitions, read_text
from mlruntime.definitions.runtime import RuntimeDefinition, parse_runtime
from mlruntime.errors import InvalidDefinition, NoCompatibleVersions, UsageError
from mlruntime.importing.composing import Composed, compose, text_of
from mlruntime.importing.model import Foreign
from mlruntime.importing.reading import read_foreign
from mlruntime.matrix.model import Matrix
from mlruntime.resolve.resolution import resolve
from mlruntime.workflows.inputs import matrix_of, read_matrix, read_runtime

# More than any lock file has.
_MOST_BYTES: Final = 16 << 20
_ID: Final = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_SCHEMA: Final = "# yaml-language-server: $schema=../../schemas/runtime.schema.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedRuntime:
    """A runtime's definition, as text too; ``fits`` says whether the matrix has versions for it."""

    composed: Composed
    text: str
    fits: bool


def import_file(
    definitions: Definitions, file: Path, *, name: str | None = None, like: str | None = None
) -> ImportedRuntime:
    """Return the definition of a runtime that asks for what ``file`` does.

    ``name`` is its id, else it is called as the file says or is called itself. Its system is that
    of the runtime ``like``; if none is named, of the newest that has versions for everything.
    """
    foreign = read_foreign(_read(file), file=str(file))
    runtime = _named(name) if name is not None else _called(foreign, file)
    matrix = read_matrix(definitions)
    shown = re.sub(r"[^ -~]", "?", file.name)
    found = None
    for base in _bases(definitions, matrix, like):
        made = compose(foreign, matrix, base, runtime=runtime, summary=f"Imported from {shown}")
        text = text_of(made, file=shown, head=(_SCHEMA,))
        # It is read as it will be, so that what is printed can be used.
        definition = parse_runtime(text, file=f"{runtime}/runtime.yaml")
        definition.must_fit(runtime, matrix.components, file=f"{runtime}/runtime.yaml")
        fits = _fits(matrix, definition)
        if found is None or fits:
            found = ImportedRuntime(composed=made, text=text, fits=fits)
        if fits:
            break
    if found is None:
        raise UsageError(
            "there is no runtime to take the system from",
            where=str(definitions.root),
            why="every image has one, and this file says nothing of it",
            hint="`mlruntime init DIR` makes a folder that has some; --root names another",
        )
    return found


def _read(file: Path) -> str:
    if not file.exists():
        raise UsageError("there is no such file", where=str(file))
    if file.is_file() and file.stat().st_size > _MOST_BYTES:
        raise InvalidDefinition(
            f"the file has more than {_MOST_BYTES >> 20} MiB",
            where=str(file),
            why="no list of packages is that long",
        )
    return read_text(file, str(file))


def _named(name: str) -> str:
    if not _ID.fullmatch(name):
        raise UsageError(
            f"{name!r} is no runtime id", hint="small letters, digits, dots and hyphens: team-1.0"
        )
    return name


def _called(foreign: Foreign, file: Path) -> str:
    for text in (foreign.name, file.stem):
        slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
        if slug:
            return slug[:60].strip("-")
    return "imported"


def _bases(
    definitions: Definitions, matrix: Matrix, like: str | None
) -> Iterator[RuntimeDefinition]:
    """Yield the runtimes whose system may be taken, the newest first; their ids tell."""
    if like is not None:
        yield read_runtime(definitions, like, matrix)
        return
    for runtime in sorted(definitions.runtimes(), key=_age, reverse=True):
        found = read_runtime(definitions, runtime, matrix)
        if not found.conda.channels:
            yield found


def _age(runtime: str) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"[0-9]{1,9}", runtime)], runtime


def _fits(matrix: Matrix, definition: RuntimeDefinition) -> bool:
    try:
        resolve(matrix_of(matrix, definition), definition.request)
    except NoCompatibleVersions:
        return False
    return True
