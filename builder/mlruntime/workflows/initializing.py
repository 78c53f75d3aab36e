"""A folder of definitions of one's own, started from others."""

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlruntime.definitions.files import Definitions, read_text
from mlruntime.definitions.runtime import parse_runtime
from mlruntime.errors import UsageError
from mlruntime.store.store import storage_errors
from mlruntime.workflows.inputs import read_matrix

# What definitions are, beside the runtimes; the last two may be missing.
_PARTS: Final = ("matrix.yaml", "images", "schemas", "release.yaml")
_RUNTIME_LINE: Final = re.compile(r"^runtime: .*$", re.MULTILINE)
_ANOTHER: Final = "name a folder that does not exist"


@dataclass(frozen=True, kw_only=True, slots=True)
class InitializedDefinitions:
    """What was written: ``unlocked`` are the runtimes that have to be locked first."""

    root: Path
    runtimes: tuple[str, ...]
    unlocked: tuple[str, ...]


def start_definitions(
    source: Definitions, target: Path, *, runtime: str | None, name: str | None
) -> InitializedDefinitions:
    """Copy definitions to ``target``, all of it or nothing: one runtime, or all without one.

    With ``name`` the runtime gets that id, and no lock: a lock is of one id. Raises ``UsageError``
    for a target that has something in it, an unknown runtime, and a name that is no id.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(
            "this exists already", where=str(target), why="nothing is overwritten", hint=_ANOTHER
        )
    if name is not None and runtime is None:
        raise UsageError("--name needs a runtime", hint="name the one to begin with: `6.0-ml`")
    chosen = source.runtimes() if runtime is None else (source.folder(runtime).name,)
    renamed = _renamed(source, chosen[0], name) if name is not None and chosen[0] != name else None
    with storage_errors(target.parent, instead=_ANOTHER):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            root = Path(folder) / "definitions"
            root.mkdir()
            for part in _PARTS:
                _copy(source.root / part, root / part)
            for one in chosen if renamed is None else ():
                _copy(source.folder(one), root / "runtimes" / one)
            if renamed is not None and name is not None:
                path = root / "runtimes" / name / "runtime.yaml"
                path.parent.mkdir(parents=True)
                path.write_text(renamed, encoding="utf-8")
            root.replace(target)
    made = Definitions(target)
    unlocked = tuple(r for r in made.runtimes() if not made.lock_path(r).is_file())
    return InitializedDefinitions(root=target, runtimes=made.runtimes(), unlocked=unlocked)


def _renamed(source: Definitions, runtime: str, name: str) -> str:
    """Return a runtime's definition under another id; it must be one."""
    text = read_text(source.folder(runtime) / "runtime.yaml", f"{runtime}/runtime.yaml")
    renamed = _RUNTIME_LINE.sub(lambda _: f"runtime: {name}", text, count=1)
    definition = parse_runtime(renamed, file=f"{name}/runtime.yaml")
    definition.must_fit(name, read_matrix(source).components, file=f"{name}/runtime.yaml")
    return renamed


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, with the modes of new files; nothing where there is nothing."""
    if source.is_file():
        shutil.copyfile(source, target)
    elif source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, ignore=ignored, copy_function=shutil.copyfile)
