"""The ecosystems as this host reaches them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlruntime.ecosystems.debian.archive import Archive
from mlruntime.ecosystems.maven.repository import Repository
from mlruntime.ecosystems.pypi.resolver import Resolver, Target
from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources
from mlruntime.store.store import Store


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

    def archive(self, release: str, areas: tuple[str, ...] = ("main",)) -> Archive:
        """Return a Debian release, or some areas of it, read from the host's archives now."""
        root = self.scratch / "-".join(("debian", release, *areas))
        root.mkdir()
        return Archive(self.sources, release, root, areas)

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

    def repository(self) -> Repository:
        """Return the Maven repository of the host's settings."""
        return Repository(url=self.sources.maven, web=self.web, store=self.store)
