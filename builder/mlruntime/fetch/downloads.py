"""Downloads: from an artifact of a lock to a checked blob in the store.

A download continues where a killed one stopped, is retried after a temporary failure, and enters
the store only when its bytes have the locked hash.
"""

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, wait
from pathlib import Path
from typing import Final, Protocol

from mlruntime.errors import ArtifactNotFound, HashMismatch, InvalidLock
from mlruntime.fetch.locating import Locator, Locators
from mlruntime.fetch.web import Web, held
from mlruntime.host.settings import Sources, without_secrets
from mlruntime.host.tasks import TaskGroup
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store

_LOG: Final = logging.getLogger(__name__)

AT_ONCE = 4
# A download that is stopped has nothing to clean up: what it received is on disk.
_GRACE_SECONDS = 1.0


class Progress(Protocol):
    """Receives the progress of downloads; called from several threads."""

    def started(self, name: str, size: int) -> None:
        """A download of ``size`` bytes begins."""

    def advanced(self, name: str, count: int) -> None:
        """``count`` more bytes are there; negative when some had to be thrown away."""

    def finished(self, name: str) -> None:
        """The file is in the store (perhaps it was all along)."""


class Silent:
    """A ``Progress`` that nobody listens to."""

    def started(self, name: str, size: int) -> None:
        """Do nothing."""

    def advanced(self, name: str, count: int) -> None:
        """Do nothing."""

    def finished(self, name: str) -> None:
        """Do nothing."""


def kept(store: Store, artifacts: Iterable[Artifact]) -> dict[str, Path]:
    """Return the blobs that a store has of these artifacts, by sha256."""
    return {a.sha256: path for a in artifacts if (path := _whole(store, a)) is not None}


def _whole(store: Store, artifact: Artifact) -> Path | None:
    """Return an artifact's blob, unless a crash of the whole machine cut it short."""
    path = store.blob(artifact.sha256)
    if path is None or held(path) == artifact.size:
        return path
    _LOG.warning("%s was cut short in the store: fetching it again", artifact.filename)
    store.discard(artifact.sha256)
    return None


class Fetcher:
    """Brings locked artifacts into a store."""

    def __init__(
        self,
        store: Store,
        sources: Sources,
        locators: Locators,
        *,
        pauses: tuple[float, ...] = (0.5, 2.0),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._sources = sources
        self._locators = locators
        self._pauses = pauses
        self._sleep = sleep

    def fetch(self, artifact: Artifact) -> Path:
        """Return the artifact's blob, downloading it unless the store has it."""
        return self.fetch_all((artifact,))[artifact.sha256]

    def fetch_all(
        self, artifacts: Iterable[Artifact], progress: Progress | None = None
    ) -> dict[str, Path]:
        """Return the blobs of all artifacts by sha256; the biggest are begun first.

        Raises ``HashMismatch``, ``ArtifactNotFound``, ``Unavailable`` or ``StorageError``, after
        the downloads already running have been stopped; what they had is kept for the next try.
        """
        progress = progress or Silent()
        wanted = {artifact.sha256: artifact for artifact in artifacts}
        found = kept(self._store, wanted.values())
        missing = sorted((a for s, a in wanted.items() if s not in found), key=lambda a: -a.size)
        if not missing:
            return found
        _LOG.info("%d of %d artifacts are in the store", len(found), len(wanted))
        web = Web(self._sources, pauses=self._pauses, sleep=self._sleep)
        with web, TaskGroup(AT_ONCE, web.stop.set, grace=_GRACE_SECONDS, name="fetch") as tasks:
            locators = self._of(missing, web)
            jobs = {
                tasks.submit(self._one, a, web, locators[_scheme(a)], progress): a for a in missing
            }
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in done:
                job.result()
            found |= {artifact.sha256: job.result() for job, artifact in jobs.items()}
        return found

    def _of(self, artifacts: Iterable[Artifact], web: Web) -> dict[str, Locator]:
        """Return a locator for each ecosystem that artifacts come from."""
        found: dict[str, Locator] = {}
        for artifact in artifacts:
            scheme = _scheme(artifact)
            if scheme not in self._locators:
                raise InvalidLock(
                    f"{artifact.filename} has an unknown origin: {artifact.origin}",
                    hint=f"known: {', '.join(sorted(self._locators))}",
                )
            if scheme not in found:
                found[scheme] = self._locators[scheme](self._sources, web)
        return found

    def _one(self, artifact: Artifact, web: Web, locator: Locator, progress: Progress) -> Path:
        with self._store.lock(f"fetch-{artifact.sha256[:2]}"):
            if (path := _whole(self._store, artifact)) is None:
                path = self._download(artifact, web, locator, progress)
        progress.finished(artifact.filename)
        return path

    def _download(self, artifact: Artifact, web: Web, locator: Locator, progress: Progress) -> Path:
        partial = self._store.partial(artifact.sha256)
        if held(partial) > artifact.size:
            partial.unlink()
        kept = held(partial)
        progress.started(artifact.filename, artifact.size)
        progress.advanced(artifact.filename, kept)

        def grown(count: int) -> None:
            progress.advanced(artifact.filename, count)

        if kept == artifact.size and kept:
            try:
                return self._store.adopt_blob(partial, artifact.sha256)
            except HashMismatch:
                grown(-kept)
                kept = 0
        other: HashMismatch | None = None
        part = _scheme(artifact)
        for url in locator.urls(artifact):
            # The part that an earlier run left may be damaged: download again from the start.
            for _ in range(2 if kept else 1):
                if not web.download(url, partial, grown=grown, size=artifact.size, part=part):
                    break
                try:
                    return self._store.adopt_blob(partial, artifact.sha256)
                except HashMismatch as error:
                    grown(-artifact.size)
                    other = other or _lies(artifact, url, error)
            kept = 0
        # Another registry may have had the right file under this name; none had.
        raise other or _not_found(artifact, locator)


def _scheme(artifact: Artifact) -> str:
    return artifact.origin.partition(":")[0]


def _lies(artifact: Artifact, url: str, error: HashMismatch) -> HashMismatch:
    return HashMismatch(
        f"{artifact.filename} is not the file that was locked",
        where=without_secrets(url),
        why=f"{error.what}, but {error.why}",
        hint="the registry or a proxy changed the file; if the change is intended, run"
        " `mlruntime lock` again",
    )


def _not_found(artifact: Artifact, locator: Locator) -> ArtifactNotFound:
    return ArtifactNotFound(
        f"{artifact.filename} is not in the registry",
        where=artifact.origin,
        hint=f"{locator.hint}; or copy it from a machine that has it, with `mlruntime store export`"
        " there and `mlruntime store import` here",
    )
