"""What changed from version to version of a runtime, from the locks that were released."""

from collections.abc import Iterator

from mlruntime.errors import HashMismatch
from mlruntime.lock.model import Lock
from mlruntime.registry.client import Repository
from mlruntime.release.channels import Record, Released
from mlruntime.release.notes import changelog
from mlruntime.release.versions import step
from mlruntime.workflows.release.publishing import lock_of


def changelog_of(repository: Repository, record: Record) -> str:
    """Return the changelog of a runtime as Markdown, the newest version first."""
    versions = sorted(record.versions, key=lambda v: v.version, reverse=True)
    locks = {v.version.text: _lock(repository, v) for v in versions}
    return changelog(record.runtime, _entries(record, versions, locks))


def _entries(
    record: Record, versions: list[Released], locks: dict[str, Lock | None]
) -> Iterator[tuple[Released, tuple[str, ...]]]:
    for released in versions:
        lock, older = locks[released.version.text], record.previous(released.version)
        before = locks[older.version.text] if older else None
        if lock is None or (older and before is None):
            yield released, ("what changed is not known: a lock was deleted from the registry",)
        else:
            changed = step(before, lock)
            same = changed.size == "none"
            yield released, ("the same artifacts, composed anew",) if same else changed.reasons


def _lock(repository: Repository, released: Released) -> Lock | None:
    try:
        return lock_of(repository, released)
    except HashMismatch:
        return None
