"""What the packages of an environment say of their licences."""

from functools import partial
from pathlib import Path

from mlruntime.ecosystems.registered import ECOSYSTEMS


def licences_in(root: Path) -> dict[str, tuple[str, ...]]:
    """Return what the packages of an environment say of their licences, by owner."""
    found: dict[str, tuple[str, ...]] = {}
    for ecosystem in ECOSYSTEMS.values():
        owners = ecosystem.owners()
        for path in (path for files in ecosystem.licence_files for path in root.glob(files)):
            text = partial(path.read_text, encoding="utf-8", errors="replace")
            owners.note(path.relative_to(root).as_posix(), text)
        found |= owners.licences
    return found
