"""The folder of a sweep: one JSON record for each combination, its lock, its log, its report."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlruntime.definitions.files import read_text
from mlruntime.errors import UsageError
from mlruntime.explore.record import CombinationRecord, parse_record
from mlruntime.store.store import write_whole

_KINDS = ("record", "lock", "report")


@dataclass(frozen=True, slots=True)
class StateFolder:
    """``NAME.record.json`` and the like; every file is written in one step."""

    root: Path

    def path(self, name: str, kind: str) -> Path:
        """Return where a combination's ``record``, ``lock`` or ``report`` is kept."""
        return self.root / f"{name}.{kind}.json"

    def log(self, name: str) -> Path:
        """Return the full path of a combination's log."""
        return self.root.absolute() / f"{name}.log"

    def record(self, name: str) -> CombinationRecord | None:
        """Return a combination's record, ``None`` when it has none."""
        path = self.path(name, "record")
        if not path.is_file():
            return None
        return parse_record(read_text(path, str(path), UsageError), file=str(path))

    def records(self) -> tuple[CombinationRecord, ...]:
        """Return all records, by name."""
        names = (path.name.removesuffix(".record.json") for path in self._files("record"))
        return tuple(record for name in names if (record := self.record(name)))

    def _files(self, kind: str) -> Iterator[Path]:
        yield from sorted(self.root.glob(f"*.{kind}.json"))

    def text(self, name: str, kind: str) -> str | None:
        """Return the text of a combination's lock or report, ``None`` when there is none."""
        path = self.path(name, kind)
        return read_text(path, str(path), UsageError) if path.is_file() else None

    def write(self, name: str, kind: str, text: str) -> None:
        """Replace a file in one step."""
        write_whole(self.path(name, kind), text)


def evidence_records(root: Path) -> tuple[CombinationRecord, ...]:
    """Return what a definitions folder keeps of combinations, of all its runtimes."""
    paths = sorted(root.glob("runtimes/*/evidence/combinations/*.json"))
    shown = [(path, path.relative_to(root).as_posix()) for path in paths]
    return tuple(parse_record(read_text(path, name, UsageError), file=name) for path, name in shown)
