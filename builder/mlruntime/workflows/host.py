"""What a workflow needs of this machine. Made once per run; nothing is opened before its use."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlruntime.engine import Engine
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store

if TYPE_CHECKING:
    from mlruntime.locking.registries import HostRegistries


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """This machine, as the workflows see it.

    ``fetch`` brings artifacts into the store and returns their files by sha256. ``registries``
    opens the ecosystems for one run, ``engine`` connects to the container engine; neither is
    called before it is needed. ``epoch`` is the value of ``SOURCE_DATE_EPOCH``.
    """

    store: Store
    fetch: Callable[[Iterable[Artifact]], Mapping[str, Path]]
    registries: "Callable[[], AbstractContextManager[HostRegistries]]"
    engine: Callable[[], Engine]
    say: Callable[[str], None]
    epoch: str | None = None
