"""What layers are written from: the store's files, and results of what ran."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from mlruntime.build.context import BuildContext
from mlruntime.build.integrity import refuse_damaged
from mlruntime.ecosystems.debian.packages import ConfiguredFiles
from mlruntime.ecosystems.native import build as native
from mlruntime.ecosystems.place import Place, image_place
from mlruntime.ecosystems.pypi.stored import StoredWheel
from mlruntime.ecosystems.registered import ECOSYSTEMS
from mlruntime.fetch.locating import last_seen
from mlruntime.image.plan import Plan
from mlruntime.layers.sink import Sink
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact, NativeWheel

Configure = Callable[[tuple[Artifact, ...]], AbstractContextManager[ConfiguredFiles]]


class BuildSupplies:
    """The ``Supplies`` of one build.

    ``files`` are the artifacts that have been fetched, by sha256, and ``names`` what they are
    called; ``compiled`` the archives of bytecode that are there so far, by their wheels' sha256.
    """

    def __init__(self, plan: Plan, lock: Lock, context: BuildContext) -> None:
        self._lock = lock
        self._context = context
        self.place: Place = image_place(plan.python)
        self.files: dict[str, Path] = {}
        self.names: dict[str, str] = {}
        self.compiled: dict[str, Path] = {}
        self._configure: Configure | None = None

    def configure_with(self, configure: Configure) -> None:
        """Say how Debian packages are configured: in a container of the layers below."""
        self._configure = configure

    def fetch(self, artifacts: Iterable[Artifact]) -> Mapping[str, Path]:
        """Bring artifacts into the store, and return their files by sha256."""
        wanted = {artifact.sha256: artifact for artifact in artifacts}
        with last_seen(self._lock):
            found = self._context.fetch(wanted.values())
        self.files |= found
        self.names |= {sha256: artifact.filename for sha256, artifact in wanted.items()}
        return found

    def file(self, artifact: Artifact) -> Path:
        """Return the file of an artifact that has been fetched."""
        return self.files[artifact.sha256]

    def intact(self, artifact: Artifact) -> Path:
        """Return such a file, its hash computed once more; ``Damaged`` if it is another one now."""
        refuse_damaged(self._context.store, (artifact,))
        return self.file(artifact)

    def install(self, origin: str, sink: Sink, packages: tuple[Artifact, ...]) -> None:
        """Put packages into a layer as their ecosystem does it, their hashes computed once more."""
        files = ((one, self.intact(one)) for one in packages)
        ECOSYSTEMS[origin].install(sink, self.place, files)

    def build_depends(self, wheel: NativeWheel) -> tuple[Artifact, ...]:
        """Return the Debian packages that a native wheel is compiled with."""
        return self._lock.build_depends if wheel.build_depends != wheel.base else ()

    def built(self, wheel: NativeWheel) -> StoredWheel | None:
        """Return a native wheel if it has been built, by this run or an earlier one."""
        found = native.built(self._context.store, wheel)
        if found:
            self.names[found.sha256] = found.filename
        return found

    def wheel(self, native: NativeWheel) -> StoredWheel:
        """Return a wheel that has been built."""
        found = self.built(native)
        assert found is not None, f"{native.name} has not been built yet"
        return found

    def bytecode(self, sha256: str) -> Path:
        """Return the archive with a wheel's bytecode, which has been compiled."""
        return self.compiled[sha256]

    def configured(self, packages: tuple[Artifact, ...]) -> AbstractContextManager[ConfiguredFiles]:
        """Yield what configuring these Debian packages changes in the layers below."""
        assert self._configure is not None, "nobody has said how packages are configured"
        return self._configure(packages)
