"""The files of a definitions folder (``--root``), hand-written and generated: read, not parsed."""

from dataclasses import dataclass
from pathlib import Path

from mlruntime.documents.reading import did_you_mean
from mlruntime.errors import InvalidDefinition, InvalidLock, MlruntimeError, UsageError


@dataclass(frozen=True, slots=True)
class Definitions:
    """A folder with ``matrix.yaml``, ``runtimes/`` and ``images/``."""

    root: Path

    def runtimes(self) -> tuple[str, ...]:
        """Return the ids of all runtimes, sorted."""
        return tuple(sorted(p.parent.name for p in self.root.glob("runtimes/*/runtime.yaml")))

    def folder(self, runtime: str) -> Path:
        """Return a runtime's folder; an unknown id raises ``UsageError`` with a "did you mean"."""
        known = self.runtimes()
        if runtime not in known:
            raise UsageError(f"there is no runtime {runtime!r}", hint=did_you_mean(runtime, known))
        return self.root / "runtimes" / runtime

    def lock_path(self, runtime: str) -> Path:
        """Return where a runtime's lock is or will be."""
        return self.folder(runtime) / "lock.json"

    def lock_text(self, runtime: str) -> str:
        """Return the lock's text; ``InvalidLock`` when it has not been written yet."""
        path = self.lock_path(runtime)
        if not path.is_file():
            raise InvalidLock(f"{runtime} is not locked", hint=f"run `mlruntime lock {runtime}`")
        return read_text(path, self.shown(path), InvalidLock)

    def shown(self, path: Path) -> str:
        """Return a path as messages name it: relative to the root."""
        return path.relative_to(self.root).as_posix()

    def images_folder(self) -> Path:
        """Return ``images/``; ``InvalidDefinition`` when there is none."""
        folder = self.root / "images"
        if not folder.is_dir():
            raise InvalidDefinition(
                "images/ is missing",
                where=str(self.root),
                why="it has the layers of every image, and the recipes of native wheels",
                hint="`mlruntime init` starts a folder that has it; --root names another",
            )
        return folder

    def image_files(self) -> dict[str, bytes]:
        """Return every file below ``images/`` by its path there."""
        folder = self.images_folder()
        return {
            path.relative_to(folder).as_posix(): read_bytes(path, self.shown(path))
            for path in sorted(folder.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }

    def stack_text(self) -> str:
        """Return the text of ``images/layers.yaml``."""
        return read_text(self.images_folder() / "layers.yaml", "images/layers.yaml")


def read_bytes(path: Path, shown: str, error: type[MlruntimeError] = InvalidDefinition) -> bytes:
    """Return a file's content, or raise ``error`` when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as problem:
        raise error("cannot be read", where=shown, why=problem.strerror) from None


def read_text(path: Path, shown: str, error: type[MlruntimeError] = InvalidDefinition) -> str:
    """Return a file's text, or raise ``error`` when it cannot be read or is not UTF-8."""
    try:
        return read_bytes(path, shown, error).decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error("not UTF-8 text", where=shown, why=str(problem)) from None
