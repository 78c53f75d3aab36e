"""The clusters that an engine has, as its labels tell; nothing is kept in files that could lie.

A cluster counts as started when its *mark* is there, a volume made at the very end: what a killed
`cluster up` left has none, and is removed by the next one. The mark's label has the description,
without Spark's settings, which may be secret.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from mlruntime.cluster.description import ClusterDescription, ClusterSpec, describe
from mlruntime.documents.reading import did_you_mean
from mlruntime.engine import Container, Engine, Owned, owner
from mlruntime.errors import UsageError

CLUSTER: Final = "mlruntime.cluster"
SPEC: Final = "mlruntime.cluster.spec"
CLASS_DATA_KEY: Final = "mlruntime.cluster.class-data"
_ROLES: Final = ("master", "worker", "history", "connect", "notebook")


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A cluster as the engine has it. ``run`` is part of the names of its network and volumes.

    ``mark`` is ``None`` while it is being started, or when that was broken off.
    """

    name: str
    things: tuple[Owned, ...]

    @property
    def mark(self) -> Owned | None:
        """Return what says that it was started completely."""
        marked = (t for t in self.things if owner.KEPT in t.labels and t.kind == "volume")
        return next(marked, None)

    @property
    def run(self) -> str:
        """Return what distinguishes it from earlier clusters of this name."""
        return self._marked().labels[owner.RUN]

    @property
    def spec(self) -> ClusterSpec:
        """Return what was started, without Spark's settings.

        ``UsageError`` when another version of mlruntime has described it in another way.
        """
        try:
            return msgspec.json.decode(self._marked().labels.get(SPEC, ""), type=ClusterSpec)
        except msgspec.MsgspecError as error:
            raise UsageError(
                f"the description of cluster {self.name} cannot be read",
                why=f"another version of mlruntime has started it: {error}",
                hint=f"`mlruntime cluster down {self.name}` removes it",
            ) from None

    @property
    def described(self) -> ClusterDescription:
        """Return what its nodes are; a notebook server may have come or gone since its start."""
        spec = replace(self.spec, notebook="notebook" in self.nodes)
        return describe(spec, self.name)

    @property
    def class_data(self) -> str:
        """Return the key of the class data that its nodes have; empty without any."""
        return self._marked().labels.get(CLASS_DATA_KEY, "")

    @property
    def nodes(self) -> Mapping[str, Owned]:
        """Return its containers by the nodes' names, jobs left out; master first."""
        found = {t.labels[owner.ROLE]: t for t in self._containers() if not is_job(t)}
        return dict(sorted(found.items(), key=_order))

    @property
    def jobs(self) -> Mapping[str, Owned]:
        """Return the containers of jobs by name."""
        return {t.labels[owner.ROLE]: t for t in self._containers() if is_job(t)}

    @property
    def workers(self) -> tuple[int, ...]:
        """Return the numbers of the workers, sorted."""
        names = (name.removeprefix("worker-") for name in self.nodes if name.startswith("worker-"))
        return tuple(sorted(int(name) for name in names))

    def _containers(self) -> tuple[Owned, ...]:
        return tuple(t for t in self.things if t.kind == "container")

    def _marked(self) -> Owned:
        if self.mark is None:
            raise UsageError(
                f"cluster {self.name} is not ready",
                why="it is still starting, or its start was interrupted",
                hint=f"wait, or remove it: `mlruntime cluster down {self.name}`",
            )
        return self.mark


def is_job(thing: Owned) -> bool:
    """Tell whether a container of a cluster is a job's."""
    return thing.labels.get(owner.ROLE, "").startswith("job-")


def _order(item: tuple[str, Owned]) -> tuple[int, str, int]:
    name, _, number = item[0].partition("-")
    count = int(number) if number.isdigit() else 0
    return _ROLES.index(name) if name in _ROLES else len(_ROLES), name, count


def standing(engine: Engine) -> Mapping[str, Standing]:
    """Return all clusters by name."""
    found: dict[str, list[Owned]] = {}
    for thing in engine.owned():
        if (name := thing.labels.get(CLUSTER)) is not None:
            found.setdefault(name, []).append(thing)
    return {name: Standing(name=name, things=tuple(found[name])) for name in sorted(found)}


def find(engine: Engine, name: str) -> Standing:
    """Return a cluster; ``UsageError``, with those that there are, when it is not there."""
    known = standing(engine)
    if name not in known:
        raise UsageError(
            f"there is no cluster {name!r}",
            hint=did_you_mean(name, known) if known else "`mlruntime cluster up` starts one",
        )
    return known[name]


def network_of(name: str, run: str) -> str:
    """Return the name of a cluster's network, with which its volumes' names begin."""
    return f"mlr-{name}-{run}"


def published(
    described: ClusterDescription, nodes: Mapping[str, Container]
) -> Iterator[tuple[str, str]]:
    """Yield each service that the engine's host publishes, with its ``HOST:PORT``."""
    for node in described.nodes:
        for port in node.ports:
            if port.host is None or node.name not in nodes:
                continue
            if found := nodes[node.name].address(port.number):
                yield port.service, found


def addresses(engine: Engine, cluster: Standing) -> Mapping[str, str]:
    """Return ``HOST:PORT`` of what a cluster publishes, by service."""
    nodes = {name: engine.container(thing.id) for name, thing in cluster.nodes.items()}
    return dict(published(cluster.described, nodes))
