"""Downloads of every ecosystem's artifacts."""

import time
from collections.abc import Callable

from mlruntime.ecosystems.registered import ECOSYSTEMS
from mlruntime.fetch.downloads import Fetcher
from mlruntime.host.settings import Sources
from mlruntime.store.store import Store


def host_fetcher(
    store: Store,
    sources: Sources,
    *,
    pauses: tuple[float, ...] = (0.5, 2.0),
    sleep: Callable[[float], None] = time.sleep,
) -> Fetcher:
    """Return a fetcher that knows where each ecosystem's artifacts are on this host."""
    locators = {origin: ecosystem.locator for origin, ecosystem in ECOSYSTEMS.items()}
    return Fetcher(store, sources, locators, pauses=pauses, sleep=sleep)
