"""What the registries of this host offer of each component."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlruntime.ecosystems.model import Ecosystem, Upstream
from mlruntime.ecosystems.registered import ECOSYSTEMS
from mlruntime.errors import MlruntimeError
from mlruntime.host.settings import Sources
from mlruntime.host.tasks import TaskGroup
from mlruntime.matrix.model import ArtifactTemplate, Component, Matrix
from mlruntime.matrix.news import ComponentOffers, Offer

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web

# As many registries' answers are waited for at a time.
_AT_ONCE: Final = 8


class UpstreamRegistries:
    """Every ecosystem, asked for the releases of the matrix's components.

    ``scratch`` is an empty directory; an ecosystem is reached only when a component comes from
    there.
    """

    def __init__(
        self,
        sources: Sources,
        web: "Web",
        scratch: Path,
        ecosystems: Mapping[str, Ecosystem] = ECOSYSTEMS,
    ) -> None:
        self._ecosystems = ecosystems
        self._sources = sources
        self._web = web
        self._scratch = scratch
        self._opened: dict[str, Upstream] = {}
        self._guard = threading.Lock()

    def _upstream(self, origin: str) -> Upstream:
        with self._guard:
            if origin not in self._opened:
                ecosystem = self._ecosystems[origin]
                self._opened[origin] = ecosystem.upstream(self._sources, self._web, self._scratch)
            return self._opened[origin]

    def answers(self, matrix: Matrix) -> Iterator[ComponentOffers]:
        """Yield an answer for every component with artifacts; a registry's failure is one too.

        Artifacts with versions of their own tell nothing of a component's, and a component that
        is a part of another has that one's releases.
        """
        with TaskGroup(_AT_ONCE, self._web.stop.set, name="news") as tasks:
            jobs = [
                tasks.submit(self._answer, matrix, component, artifacts)
                for component in matrix.components.values()
                if component.part_of is None
                and (artifacts := [a for a in component.artifacts if a.pin != "free"])
            ]
            for job in jobs:
                yield job.result()

    def _answer(
        self, matrix: Matrix, component: Component, artifacts: list[ArtifactTemplate]
    ) -> ComponentOffers:
        try:
            offers = [self._offer(matrix, component, a) for a in artifacts]
            return ComponentOffers(component=component.name, offers=tuple(offers))
        except MlruntimeError as error:
            why = error.what + (f": {error.why.splitlines()[0]}" if error.why else "")
            return ComponentOffers(component=component.name, error=why)

    def _offer(self, matrix: Matrix, component: Component, artifact: ArtifactTemplate) -> Offer:
        releases = self._upstream(artifact.origin).releases(matrix, component, artifact)
        what = f"{artifact.origin}:{artifact.name}"
        return Offer(what=what, releases=releases, of=artifact.releases)
