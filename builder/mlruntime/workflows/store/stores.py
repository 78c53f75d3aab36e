"""Where the store is, and a fetcher for it: from the environment, once per run."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlruntime.errors import UsageError
from mlruntime.host.settings import Sources, discover
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store

if TYPE_CHECKING:
    from mlruntime.fetch.downloads import Fetcher, Progress


def store_root() -> Path:
    """Return ``MLRUNTIME_STORE``, else ``mlruntime`` in the user's cache directory."""
    if given := os.environ.get("MLRUNTIME_STORE"):
        return Path(given).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or _home() / ".cache"
    return Path(cache).absolute() / "mlruntime"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise UsageError(
            "this user has no home directory", hint="set HOME, or MLRUNTIME_STORE"
        ) from None


def host_sources(ca_bundle: Path | None = None) -> Sources:
    """Return where this host's own clients get packages."""
    return discover(os.environ, home=_home(), ca_bundle=ca_bundle)


def fetch_all(
    store: Store, artifacts: Iterable[Artifact], progress: "Progress", ca_bundle: Path | None = None
) -> Mapping[str, Path]:
    """Return the blobs of all artifacts by sha256.

    If the store has them all, this host's settings are not even read: a machine without a network
    may have some that are wrong.
    """
    from mlruntime.fetch.downloads import kept

    wanted = {artifact.sha256: artifact for artifact in artifacts}
    found = kept(store, wanted.values())
    if found.keys() == wanted.keys():
        return found
    return fetcher(store, ca_bundle).fetch_all(wanted.values(), progress)


def fetcher(store: Store, ca_bundle: Path | None = None) -> "Fetcher":
    """Return a fetcher that goes where this host's own clients go."""
    # Imported late: a build that has nothing to do fetches nothing.
    from mlruntime.ecosystems.fetching import host_fetcher

    return host_fetcher(store, host_sources(ca_bundle))
