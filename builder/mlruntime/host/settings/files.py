"""Files of settings that may not be there, or not for this user.

With ``sudo -E -u USER`` even ``HOME`` is a folder that the user may not enter.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path


def is_there(path: Path) -> bool:
    """Return whether it is a file; where this user may not look there is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Return whether it is a folder; where this user may not look there is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def listed(folder: Path, pattern: str) -> list[Path]:
    """Return what a folder has by a pattern, in order; nothing where this user may not look."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def forbidden(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that this user may not read, and the folders that hide others."""
    for path in paths:
        try:
            if is_there(path):
                path.open("rb").close()
            else:
                path.stat()
        except PermissionError:
            yield _closed(path)
        except (OSError, ValueError):
            continue


def _closed(path: Path) -> Path:
    """Return the outermost folder on the way to a path that this user may not enter."""
    above = list(reversed(path.parents))
    for folder, below in zip(above, [*above[1:], path], strict=True):
        try:
            below.stat()
        except PermissionError:
            return folder
        except OSError:
            break
    return path
