"""Hosts of their own for tests, and what they are given: a wheel, and a company's authority."""

import hashlib
import os
import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlruntime.ecosystems.fetching import host_fetcher
from mlruntime.ecosystems.pypi.resolver import Resolver, Target
from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources, discover
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store

from tests.unit.servers import SNAPSHOT, wheel

SECRET: Final = "hunter2"
DEAD: Final = "127.0.0.1:9"
THING: Final = wheel("thing", "1")
THE_WHEEL: Final = Artifact(
    kind="wheel",
    name="thing",
    version="1",
    filename="thing-1-py3-none-any.whl",
    size=len(THING),
    sha256=hashlib.sha256(THING).hexdigest(),
    origin="pypi",
)


@dataclass
class Machine:
    """A host of its own: a home, an /etc, and variables."""

    root: Path
    cache: Path

    def write(self, path: str, text: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def sources(self, **environ: str) -> Sources:
        return discover(environ, home=self.root / "home", etc=self.root / "etc")

    def lock(self, requirement: str = "thing==1", **environ: str) -> tuple[Artifact, ...]:
        sources = self.sources(**environ)
        scratch = self.root / "scratch"
        scratch.mkdir(exist_ok=True)
        base = {"PATH": os.environ["PATH"], "UV_CACHE_DIR": str(self.cache)}
        base["HOME"] = str(self.root / "home")
        with Web(sources, pauses=()) as web:
            resolver = Resolver(
                sources=sources,
                web=web,
                target=Target(python="3.11.2", glibc=(2, 36)),
                snapshot=SNAPSHOT,
                scratch=scratch,
                environ=environ | base,
            )
            return resolver.compile([requirement])

    def fetch(self, artifact: Artifact, **environ: str) -> bytes:
        store = Store(Path(os.fspath(self.root / "store")))
        fetcher = host_fetcher(store, self.sources(**environ), pauses=())
        try:
            return fetcher.fetch(artifact).read_bytes()
        finally:
            shutil.rmtree(store.root, ignore_errors=True)

    def both(self, **environ: str) -> bytes:
        """Lock, then download what was locked."""
        (artifact,) = self.lock(**environ)
        return self.fetch(artifact, **environ)


@dataclass
class Authority:
    """A company's own authority, a server's certificate by it, and one for a client."""

    folder: Path

    @property
    def bundle(self) -> Path:
        return self.folder / "ca.pem"

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "key.pem")
        return context
