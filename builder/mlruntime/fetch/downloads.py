"""Downloads: from an artifact of a lock to a checked blob in the store.

A download continues where a killed one stopped, is tried again when the registry stumbles, and
enters the store only when its bytes have the locked hash.
"""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlruntime.errors import ArtifactNotFound, HashMismatch, MlruntimeError, Unavailable
from mlruntime.fetch.indexes import project_files
from mlruntime.fetch.web import Web, held
from mlruntime.host.settings import DEBIAN_HINT, Sources, without_secrets
from mlruntime.host.tasks import TaskGroup
from mlruntime.lock.model import Artifact
from mlruntime.store.store import Store

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage

AT_ONCE = 4
# A download that is stopped has nothing to clean up: what it received is on disk.
_GRACE_SECONDS = 1.0


class Progress(Protocol):
    """Hears how downloads get on; called from several threads."""

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


class Fetcher:
    """Brings locked artifacts into a store."""

    def __init__(
        self,
        store: Store,
        sources: Sources,
        *,
        pauses: tuple[float, ...] = (0.5, 2.0),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._sources = sources
        self._pauses = pauses
        self._sleep = sleep

    def fetch(self, artifact: Artifact) -> Path:
        """Return the artifact's blob, downloading it unless the store has it."""
        return self.fetch_all((artifact,))[artifact.sha256]

    def fetch_all(
        self, artifacts: Iterable[Artifact], progress: Progress | None = None
    ) -> dict[str, Path]:
        """Return the blobs of all artifacts by sha256; the biggest are begun first.

        Raises ``HashMismatch``, ``ArtifactNotFound``, ``Unavailable`` or ``OutOfSpace``, after
        the downloads already running have been stopped; what they had is kept for the next try.
        """
        progress = progress or Silent()
        wanted = {artifact.sha256: artifact for artifact in artifacts}
        found = {sha: path for sha, a in wanted.items() if (path := self._stored(a))}
        missing = sorted((a for s, a in wanted.items() if s not in found), key=lambda a: -a.size)
        if not missing:
            return found
        web = Web(self._sources, pauses=self._pauses, sleep=self._sleep)
        with web, TaskGroup(AT_ONCE, web.stop.set, grace=_GRACE_SECONDS, name="fetch") as crew:
            locate = _Locator(self._sources, web)
            jobs = {crew.submit(self._one, a, web, locate, progress): a for a in missing}
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in done:
                job.result()
            found |= {artifact.sha256: job.result() for job, artifact in jobs.items()}
        return found

    def _stored(self, artifact: Artifact) -> Path | None:
        """Return the blob, unless a crash of the whole machine cut it short."""
        path = self._store.blob(artifact.sha256)
        if path is None or held(path) == artifact.size:
            return path
        self._store.discard(artifact.sha256)
        return None

    def _one(self, artifact: Artifact, web: Web, locate: "_Locator", progress: Progress) -> Path:
        with self._store.lock(f"fetch-{artifact.sha256[:2]}"):
            if (path := self._stored(artifact)) is None:
                path = self._download(artifact, web, locate, progress)
        progress.finished(artifact.filename)
        return path

    def _download(
        self, artifact: Artifact, web: Web, locate: "_Locator", progress: Progress
    ) -> Path:
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
        part = artifact.origin.partition(":")[0]
        for url in locate.urls(artifact):
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
        raise other or _not_found(artifact)


class _Locator:
    """Knows the addresses an artifact may be had from on this host."""

    def __init__(self, sources: Sources, web: Web) -> None:
        self._sources = sources
        self._web = web
        self._pages: dict[str, Future[dict[str, list[DistributionPackage]]]] = {}
        self._guard = threading.Lock()

    def urls(self, artifact: Artifact) -> tuple[str, ...]:
        """Return the candidates, the likeliest first; none when no registry lists it."""
        scheme, _, rest = artifact.origin.partition(":")
        if scheme == "debian":
            suite, _, pool = rest.partition(":")
            uris = self._sources.debian_uris(suite)
            if not uris:
                raise Unavailable("no Debian archive is configured on this host", hint=DEBIAN_HINT)
            return tuple(f"{uri}/{pool}" for uri in uris)
        if scheme == "maven":
            return (
                maven_url(self._sources.maven, artifact.name, artifact.version, artifact.filename),
            )
        if scheme == "pypi":
            return _by_hash(artifact, self._page(artifact.name).get(artifact.filename, []))
        raise MlruntimeError(f"{artifact.filename} has an origin nobody knows: {artifact.origin}")

    def _page(self, project: str) -> "dict[str, list[DistributionPackage]]":
        """Return a project's files; whoever asks first looks them up, and nobody else waits."""
        with self._guard:
            first = project not in self._pages
            page = self._pages.setdefault(project, Future())
        if first:
            try:
                page.set_result(project_files(self._sources, self._web, project))
            except BaseException as error:
                page.set_exception(error)
        return page.result()


def _by_hash(artifact: Artifact, files: "list[DistributionPackage]") -> tuple[str, ...]:
    """Return the addresses of a file by this name, those that promise the locked hash first.

    Raises ``HashMismatch`` when every index has other bytes under this name.
    """
    told = [(file.digests.get("sha256"), file) for file in files]
    right = [file.url for sha256, file in told if sha256 == artifact.sha256]
    unknown = [file.url for sha256, file in told if sha256 is None]
    if files and not right and not unknown:
        raise HashMismatch(
            f"{artifact.filename} is not the file that was locked",
            where=", ".join(without_secrets(file.url) for file in files),
            why=f"the lock has sha256 {artifact.sha256}, the index {told[0][0]}",
            hint="set the index that it was locked from, or lock anew if the file was replaced"
            " rightly",
        )
    return (*right, *unknown)


def maven_url(repository: str, name: str, version: str, filename: str) -> str:
    """Return where a repository in Maven's layout has a file of ``group:artifact``.

    A classifier may follow; it is part of the file's name alone.
    """
    group, artifact = name.split(":")[:2]
    return f"{repository}/{group.replace('.', '/')}/{artifact}/{version}/{filename}"


def _lies(artifact: Artifact, url: str, error: HashMismatch) -> HashMismatch:
    return HashMismatch(
        f"{artifact.filename} is not the file that was locked",
        where=without_secrets(url),
        why=f"{error.what}, but {error.why}",
        hint="the registry or a proxy changed the file; if it did so rightly, lock anew",
    )


def _not_found(artifact: Artifact) -> ArtifactNotFound:
    hints = {
        "debian": "the archive has moved on to a newer version: re-lock with `mlruntime lock`,"
        " or set MLRUNTIME_DEBIAN_SNAPSHOT to a snapshot of the archive from the time of the lock",
        "maven": "set MLRUNTIME_MAVEN_REPOSITORY to a repository that has it",
        "pypi": "the index does not carry this file any more, or it is not the index it was locked"
        " from: re-lock, or set UV_DEFAULT_INDEX",
    }
    kind = artifact.origin.partition(":")[0]
    return ArtifactNotFound(
        f"{artifact.filename} is not in the registry", where=artifact.origin, hint=hints[kind]
    )
