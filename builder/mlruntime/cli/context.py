"""What every verb gets: where the definitions are."""

from dataclasses import dataclass
from pathlib import Path

from mlruntime.errors import UsageError

PACKAGED = Path(__file__).parents[1] / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The options before the verb."""

    root: Path
    ca_bundle: Path | None = None


def find_root(given: Path | None, start: Path) -> Path:
    """Return ``--root``, else the nearest folder upward with a ``matrix.yaml``, else our own."""
    if given is not None:
        if not (given / "matrix.yaml").is_file():
            raise UsageError("no definitions found", where=str(given), why="it has no matrix.yaml")
        return given.absolute()
    for folder in (start, *start.parents):
        if (folder / "matrix.yaml").is_file():
            return folder
    return PACKAGED


def absolute(path: Path) -> Path:
    """Return a path without ``..`` and links above it: it is written into files."""
    absolute = path.expanduser().absolute()
    return absolute.parent.resolve() / absolute.name
