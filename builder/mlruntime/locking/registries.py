"""The ecosystems as this host reaches them."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from mlruntime.ecosystems.conda.solver import Channels, read_channels
from mlruntime.ecosystems.debian.archive import Archive
from mlruntime.ecosystems.fetching import host_fetcher
from mlruntime.ecosystems.maven.repository import MavenRepository
from mlruntime.ecosystems.maven.shipped import (
    ShippedJar,
    read_shipped,
    shipped_from_json,
    shipped_to_json,
)
from mlruntime.ecosystems.model import Reach
from mlruntime.ecosystems.pypi.resolver import Resolver, Target
from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store

# The kind of a record: which jars a source distribution has.
_SHIPPED: Final = "shipped-jars"


@dataclass(frozen=True, kw_only=True, slots=True)
class HostRegistries:
    """``scratch`` is an empty directory for one run; the caller opens ``web`` and closes it.

    ``tell`` hears, a line at a time, what a user should know about what was found.
    """

    sources: Sources
    web: Web
    store: Store
    scratch: Path
    environ: Mapping[str, str]
    tell: Callable[[str], None] = lambda _: None
    _archives: dict[Path, Archive] = field(default_factory=dict, init=False, repr=False)

    def archive(self, release: str, areas: tuple[str, ...] = ("main",)) -> Archive:
        """Return a Debian release, or some areas of it, read from the host's archives once."""
        root = self.scratch / "-".join(("debian", release, *areas))
        if root not in self._archives:
            root.mkdir()
            self._archives[root] = Archive(self.sources, release, root, areas)
        return self._archives[root]

    def channels(self, names: tuple[str, ...], snapshot: str) -> Channels:
        """Return conda's channels, read now."""
        root = self.scratch / "conda"
        root.mkdir()
        return read_channels(names, self.sources, self.web, root, snapshot)

    def compiler(self, target: Target, snapshot: str) -> Resolver:
        """Return uv for one target and moment."""
        return Resolver(
            sources=self.sources,
            web=self.web,
            target=target,
            snapshot=snapshot,
            scratch=self.scratch,
            environ=self.environ,
            tell=self.tell,
        )

    def shipped(self, sdist: Artifact) -> tuple[ShippedJar, ...]:
        """Return the jars in a source distribution, which is fetched unless that is known."""
        record = self.store.record(_SHIPPED, sdist.sha256)
        with suppress(ValueError):  # what a crash of the whole machine may leave
            if record is not None:
                return shipped_from_json(json.loads(record.read_text(encoding="utf-8")))
        path = host_fetcher(self.store, self.sources).fetch(sdist)
        found = read_shipped(path, sdist.filename)
        self.store.write_record(_SHIPPED, sdist.sha256, json.dumps(shipped_to_json(found)))
        return found

    def reach(self, snapshot: str) -> Reach:
        """Return how any other ecosystem reaches its own registries."""
        scratch = Path(mkdtemp(dir=self.scratch))
        return Reach(sources=self.sources, web=self.web, scratch=scratch, snapshot=snapshot)

    def repository(self) -> MavenRepository:
        """Return the Maven repository of the host's settings."""
        return MavenRepository(url=self.sources.maven, web=self.web, store=self.store)
