"""A repository of a registry, as the verbs open it: this host's settings, this user's logins."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlruntime.fetch.web import Web
from mlruntime.host.settings.containers import registry_logins
from mlruntime.registry.client import Repository
from mlruntime.registry.names import Name, parse_name
from mlruntime.workflows.store.stores import host_sources


@contextmanager
def opened(text: str, ca_bundle: Path | None) -> Iterator[tuple[Repository, Name]]:
    """Yield the repository of ``HOST/REPO[:TAG][@DIGEST]``, and that name taken apart."""
    name = parse_name(text)
    logins = registry_logins(os.environ, Path.home())
    with Web(host_sources(ca_bundle)) as web:
        yield Repository(web, name, logins.of), name
