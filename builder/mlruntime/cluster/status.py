"""How a standing cluster is: what the engine says of its nodes, and its master of the rest."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from mlruntime.cluster.description import describe
from mlruntime.cluster.standing import Standing
from mlruntime.engine import Container, Engine, Owned
from mlruntime.errors import Unavailable

# Runs in the master's container: what its page says, as one line.
ASK: Final = """
import json, sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
    print(json.dumps(json.load(answer)))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeStatus:
    """One container of a cluster."""

    name: str
    state: str
    running: bool
    restarts: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {field: getattr(self, field) for field in self.__dataclass_fields__}


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """A cluster; ``master`` is ``None`` when it does not answer."""

    name: str
    nodes: tuple[NodeStatus, ...]
    master: Mapping[str, int] | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "nodes": [node.to_dict() for node in self.nodes],
            "master": dict(self.master) if self.master is not None else None,
        }


def status_of(engine: Engine, cluster: Standing) -> Status:
    """Ask the engine for each node and job, and the master for workers and applications."""
    things = {**cluster.nodes, **cluster.jobs}
    nodes = tuple(_node(engine, name, thing) for name, thing in things.items())
    master = cluster.nodes.get("master")
    told = None
    if master is not None and master.running:
        url = describe(cluster.spec, cluster.name).ready.url
        told = _master(engine.container(master.id), url)
    return Status(name=cluster.name, nodes=nodes, master=told)


def _node(engine: Engine, name: str, thing: Owned) -> NodeStatus:
    state = engine.container(thing.id).state()
    return NodeStatus(name=name, state=str(state), running=state.running, restarts=state.restarts)


def _master(container: Container, url: str) -> Mapping[str, int] | None:
    with suppress(Unavailable):
        lines = [line for _, line in container.exec(["python3", "-c", ASK, url])]
        return read_master(lines[-1] if lines else "")
    return None


def read_master(text: str) -> Mapping[str, int] | None:
    """Return what counts of a master's JSON; ``None`` when it is something else."""
    with suppress(ValueError, KeyError, TypeError):
        found = json.loads(text)
        return {
            "alive_workers": int(found["aliveworkers"]),
            "cores": int(found["cores"]),
            "cores_used": int(found["coresused"]),
            "applications": len(found["activeapps"]),
        }
    return None
