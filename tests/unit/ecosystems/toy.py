"""An ecosystem that mlruntime does not have: nothing of it is elsewhere.

Its registry is a dictionary; its packages are single files of text.
"""

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from mlruntime.ecosystems.model import Ecosystem, Reach, Upstream
from mlruntime.ecosystems.owners import Owners
from mlruntime.ecosystems.place import Place
from mlruntime.ecosystems.wanted import RequestedArtifact
from mlruntime.errors import ArtifactNotFound
from mlruntime.fetch.locating import Locator
from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources
from mlruntime.layers.sink import Sink
from mlruntime.lock.packages import Artifact
from packageurl import PackageURL

FOLDER = "opt/toys"
# What there is: its text, and what it needs.
REGISTRY = {"bear": ("a bear", ("box",)), "box": ("a box to put it into", ())}


class ToyOwners(Owners):
    """The name of a file is its package's."""

    def note(self, path: str, text: Callable[[], str]) -> None:
        pass

    def owner(self, path: str) -> str | None:
        return f"toy:{path.rpartition('/')[2]}" if path.startswith(f"{FOLDER}/") else None

    @property
    def licences(self) -> Mapping[str, tuple[str, ...]]:
        return {"toy:bear": ("MIT",)}


class Toy(Ecosystem):
    """Toys."""

    origin = "toy"

    def locator(self, sources: Sources, web: Web) -> Locator:
        raise NotImplementedError

    def upstream(self, sources: Sources, web: Web, scratch: Path) -> Upstream:
        raise NotImplementedError

    def lock(self, wanted: tuple[RequestedArtifact, ...], reach: Reach) -> tuple[Artifact, ...]:
        assert reach.snapshot == "2026-11-20T00:00:00Z" and not list(reach.scratch.iterdir())
        ahead, found = [one.name for one in wanted], dict[str, Artifact]()
        while ahead:
            name = ahead.pop()
            if name not in REGISTRY:
                raise ArtifactNotFound(f"no toy is called {name}")
            text, needs = REGISTRY[name]
            found[name] = Artifact(
                kind="toy", name=name, version="1", filename=f"{name}.toy", size=len(text),
                sha256=sha256(text.encode()).hexdigest(), origin="toy:shelf",
            )  # fmt: skip
            ahead += needs
        return tuple(found[name] for name in sorted(found))

    def install(self, sink: Sink, place: Place, artifacts: Iterable[tuple[Artifact, Path]]) -> None:
        for artifact, path in artifacts:
            sink.data(f"{FOLDER}/{artifact.name}", path.read_bytes())

    def size(self, artifact: Artifact, path: Path | None, has: Callable[[str], bool]) -> int | None:
        return artifact.size * 2

    def owners(self) -> Owners:
        return ToyOwners()

    def purl(self, artifact: Artifact, versions: Mapping[str, str]) -> PackageURL:
        return PackageURL("generic", "toy", artifact.name, artifact.version, {"for": "bears"})
