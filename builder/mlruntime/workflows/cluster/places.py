"""The places that clusters run in, by the word that names them on the command line."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from mlruntime.cluster.kubernetes.kubectl import kubectl
from mlruntime.definitions.files import Definitions
from mlruntime.engine import connect
from mlruntime.errors import UsageError
from mlruntime.store.store import Store
from mlruntime.workflows.cluster.containers import InContainers
from mlruntime.workflows.cluster.kubernetes import OnKubernetes
from mlruntime.workflows.cluster.place import ClusterPlace
from mlruntime.workflows.store.stores import store_root

CONTAINERS: Final = "containers"
KUBERNETES: Final = "kubernetes"
PLACES: Final = (CONTAINERS, KUBERNETES)


@contextmanager
def place_of(
    on: str,
    namespace: str | None,
    definitions: Definitions,
    environment: Mapping[str, str],
    say: Callable[[str], None],
) -> Iterator[ClusterPlace]:
    """Yield a place, connected to, for a block; ``UsageError`` for a word that names none."""
    if on not in PLACES:
        raise UsageError(f"clusters do not run on {on!r}", hint=f"one of: {', '.join(PLACES)}")
    if on == KUBERNETES:
        yield OnKubernetes(kube=kubectl(environment, namespace), definitions=definitions, say=say)
        return
    if namespace is not None:
        raise UsageError("--namespace is for --on kubernetes")
    with connect() as engine:
        yield InContainers(
            engine=engine, definitions=definitions, store=lambda: Store(store_root()), say=say
        )
