"""This machine as the verbs use it: its settings, its engine, and progress shown to people."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.output import say, warn
from mlruntime.cli.progress import downloads
from mlruntime.definitions.files import Definitions
from mlruntime.engine import Connecting
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store
from mlruntime.workflows.host import Host
from mlruntime.workflows.store.stores import fetch_all, host_sources, store_root

if TYPE_CHECKING:
    from mlruntime.locking.registries import HostRegistries


@contextmanager
def this_host(context: Context) -> Iterator[Host]:
    """Yield this machine; nothing is read or connected to before it is needed, all is closed."""
    store = Store(store_root(), say)

    def fetch(artifacts: Iterable[Artifact]) -> Mapping[str, Path]:
        with downloads(say) as progress:
            return fetch_all(store, artifacts, progress, context.ca_bundle)

    @contextmanager
    def registries() -> Iterator["HostRegistries"]:
        # Imported late: what asks no registry does without HTTP, apt's formats and pip's.
        from mlruntime.fetch.web import Web
        from mlruntime.locking.registries import HostRegistries

        sources = host_sources(context.ca_bundle)
        with store.scratch() as scratch, Web(sources) as web:
            yield HostRegistries(
                sources=sources,
                web=web,
                store=store,
                scratch=scratch,
                environ=os.environ,
                tell=warn,
            )

    with Connecting() as engine:
        yield Host(
            store=store,
            fetch=fetch,
            registries=registries,
            engine=engine,
            say=say,
            epoch=os.environ.get("SOURCE_DATE_EPOCH"),
        )


# What ``--with`` and ``--with-jars`` are.
REQUIREMENTS: Final = typer.Option(
    "--with", metavar="FILE", help="add the packages of this requirements file"
)
JARS: Final = typer.Option(
    "--with-jars", metavar="FILE", help="add these jars, GROUP:ARTIFACT:VERSION, and what they need"
)


def with_added(
    definitions: Definitions,
    lock: Lock,
    file: Path | None,
    jars: Path | None,
    host: Host | None = None,
) -> Lock:
    """Return a lock with what a requirements file and a list of jars add to it, if one is given.

    Without a ``host`` that must have been locked.
    """
    if file is None and jars is None:
        return lock
    # Imported late: few add packages, and what locks them takes longer to import than a build.
    from mlruntime.workflows.additions import AdditionFiles, with_files

    return with_files(definitions, lock, AdditionFiles(requirements=file, jars=jars), host)
