"""Writing the static site: everything it says is read here, and its files are written here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from mlruntime import __version__
from mlruntime.definitions.files import Definitions, read_bytes, read_text
from mlruntime.definitions.runtime import RuntimeDefinition
from mlruntime.documents.tables import Table
from mlruntime.errors import UsageError
from mlruntime.image.sizes import sizes
from mlruntime.lock.model import Lock
from mlruntime.matrix.model import Matrix
from mlruntime.resolve.model import Resolution
from mlruntime.resolve.resolution import NoSolution, resolve
from mlruntime.site import building
from mlruntime.site.model import SiteContents, SiteImage, SiteRuntime, SiteVersion
from mlruntime.store.store import storage_errors, write_whole
from mlruntime.workflows.inputs import matrix_of, read_matrix, read_runtime
from mlruntime.workflows.locked import read_lock
from mlruntime.workflows.planning import planned_image

# What a folder has that we wrote: the names of all files of the site, one in each line.
MARKER: Final = ".mlruntime-site"
_TEMPLATES: Final = Path(building.__file__).parent / "templates"
_INSTEAD: Final = "name another folder with --output"


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenSite:
    """What was written: how many files, their bytes, and how many of before were removed."""

    files: int
    size: int
    removed: int


def write_site(
    definitions: Definitions,
    output: Path,
    *,
    evidence: Iterable[Table],
    documentation: Path,
    registry: str | None = None,
    versions: Mapping[str, tuple[SiteVersion, ...]] | None = None,
) -> WrittenSite:
    """Write the site into a folder that is empty, or has one that was written before.

    ``documentation`` is the folder with ``README.md`` and ``docs/``, ``versions`` are what was
    released, by runtime. Anything else in the folder
    is a ``UsageError``; nothing is written then.
    """
    before = _ours(output)
    contents = site_contents(
        definitions,
        evidence=evidence,
        documentation=documentation,
        registry=registry,
        versions=versions,
    )
    with storage_errors(output, instead=_INSTEAD):  # before the work, not after it
        output.mkdir(parents=True, exist_ok=True)
    files = building.site(contents)
    _note(output, before | files.keys())
    for name, content in files.items():
        write_whole(output / name, content, instead=_INSTEAD)
    with storage_errors(output, instead=_INSTEAD):
        gone = [n for n in sorted(before - files.keys()) if (output / n).is_file()]
        for name in gone:
            (output / name).unlink()
        for folder in sorted({(output / name).parent for name in gone} - {output}, reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    _note(output, files.keys())
    return WrittenSite(files=len(files), size=sum(map(len, files.values())), removed=len(gone))


def _note(output: Path, names: Iterable[str]) -> None:
    write_whole(output / MARKER, "".join(f"{name}\n" for name in sorted(names)), instead=_INSTEAD)


def _ours(output: Path) -> set[str]:
    """Return the files of the site that is in a folder; raise if something else is."""
    with storage_errors(output, instead=_INSTEAD):
        if output.exists() and not output.is_dir():
            raise UsageError("--output is not a directory", where=str(output), hint=_INSTEAD)
        there = sorted(path.name for path in output.iterdir()) if output.is_dir() else []
    if MARKER in there:
        names = read_text(output / MARKER, str(output / MARKER), UsageError).splitlines()
        return {name for name in names if _inside(name)}
    if there:
        raise UsageError(
            "the folder has other files, and no site of mlruntime's",
            where=str(output),
            why=f"it has {', '.join(there[:3])}{' and more' if len(there) > 3 else ''}; a site is"
            " written anew each time, and removes what it does not have any more",
            hint=f"{_INSTEAD}, or empty this one",
        )
    return set()


def _inside(name: str) -> bool:
    """Return whether a name can be one of a site's files: nobody else's is ever removed."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts


def site_contents(
    definitions: Definitions,
    *,
    evidence: Iterable[Table],
    documentation: Path,
    registry: str | None = None,
    versions: Mapping[str, tuple[SiteVersion, ...]] | None = None,
) -> SiteContents:
    """Return all that a site says, from the files of a definitions folder."""
    matrix = read_matrix(definitions)
    return SiteContents(
        version=__version__,
        matrix=matrix,
        runtimes=tuple(
            _runtime(definitions, matrix, name, (versions or {}).get(name, ()))
            for name in definitions.runtimes()
        ),
        evidence=tuple(evidence),
        documents={
            path.relative_to(documentation).as_posix(): read_text(path, str(path))
            for path in (
                *(documentation / name for name in ("README.md", "CHANGELOG.md")),
                *sorted(documentation.glob("docs/**/*.md")),
            )
        },
        files=_beside(documentation),
        templates={path.name: read_text(path, path.name) for path in sorted(_TEMPLATES.iterdir())},
        registry=registry,
    )


def _beside(documentation: Path) -> Mapping[str, bytes]:
    """Return what is in ``docs/`` beside its pages: examples and pictures."""
    return {
        path.relative_to(documentation).as_posix(): read_bytes(path, str(path))
        for path in sorted(documentation.glob("docs/**/*"))
        if path.is_file() and path.suffix != ".md" and "__pycache__" not in path.parts
    }


def _runtime(
    definitions: Definitions, matrix: Matrix, name: str, versions: tuple[SiteVersion, ...]
) -> SiteRuntime:
    definition = read_runtime(definitions, name, matrix)
    lock = read_lock(definitions, name) if definitions.lock_path(name).is_file() else None
    return SiteRuntime(
        definition=definition,
        resolution=_resolution(matrix, definition),
        lock=lock,
        images=_images(definitions, lock) if lock else (),
        versions=versions,
    )


def _resolution(matrix: Matrix, definition: RuntimeDefinition) -> Resolution | None:
    try:
        return resolve(matrix_of(matrix, definition), definition.request)
    except NoSolution:
        return None


def _images(definitions: Definitions, lock: Lock) -> tuple[SiteImage, ...]:
    """Return every image of a runtime: those of one variant together, the smallest first.

    Their sizes are what is downloaded, from the lock alone: so a site is the same wherever it is
    written. Of what is compiled here, that is its source.
    """
    return tuple(
        SiteImage(
            of=lock.runtime,
            lock=cut,
            sizes=sizes(
                planned_image(definitions, cut, variant.name),
                blob=lambda _: None,
                unpacked=lambda *_: None,
                compiled=lambda wheel: (wheel.sdist.size, wheel.sdist.size),
                budget=None,
            ),
        )
        for variant in lock.variants
        for cut in map(lock.cut, lock.flavour_names)
    )
