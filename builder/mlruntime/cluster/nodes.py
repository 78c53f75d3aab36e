"""Do the nodes of a cluster agree with each other? Each is asked the same, then compared."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mlruntime.cluster.parallel import pool_of, submitted
from mlruntime.cluster.standing import Standing
from mlruntime.engine import Container, Engine
from mlruntime.errors import Unavailable

# What must be the same on all nodes, and what to try when it is not.
_SAME: Final[Mapping[str, str]] = {
    "image": "`mlruntime cluster down` and up again: all nodes must run the same image",
    "python": "all nodes must run the same image",
    "java": "all nodes must run the same image",
    "user": "all nodes must run as the same user",
    "settings": "the nodes read different settings: `mlruntime cluster down` and up again",
    "mtu": "packets are lost between nodes whose networks have another MTU",
    "driver": "update the older drivers of NVIDIA",
}
# Spark and Horovod compare times of different nodes; more than this confuses their logs at least.
_CLOCK_SECONDS: Final = 2.0
# Runs in each node: what it is, as one line of JSON.
_PROBE: Final = r"""
import glob, hashlib, json, os, platform, re, socket, subprocess, sys, time
told = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr
found = re.search(r'version "([^"]+)"', told)
conf = open("/etc/spark/spark-defaults.conf", "rb").read()
links = sorted(glob.glob("/sys/class/net/e*/mtu"))
driver = "/proc/driver/nvidia/version"
# JVMs that were to use an archive of class data, and do not have it in memory. One whose class path
# begins with something else was told so by a user.
slow = []
for folder in glob.glob("/proc/[0-9]*"):
    try:
        words = open(folder + "/cmdline").read().split("\0")
        found_there = [w for w in words if w.startswith("-XX:SharedArchiveFile=")]
        if not found_there or "-cp" not in words:
            continue
        archive = found_there[-1].partition("=")[2]
        at = words.index("-cp") + 1
        ours = words[at].startswith(os.path.dirname(archive) + "/")
        if ours and archive not in open(folder + "/maps").read():
            slow += [w.rpartition(".")[2] for w in words[at:] if w.startswith("org.apache.")][:1]
    except OSError:
        pass
reach = {}
for name, port in json.loads(sys.argv[1]):
    try:
        socket.create_connection((name, port), timeout=5).close()
        reach[name] = ""
    except OSError as error:
        reach[name] = str(error)
print(json.dumps({
    "python": platform.python_version(),
    "java": found[1] if found else told.strip(),
    "user": os.getuid(),
    "settings": hashlib.sha256(conf).hexdigest()[:12],
    "mtu": [int(open(path).read()) for path in links],
    "driver": open(driver).readline().strip() if os.path.exists(driver) else "",
    "clock": time.time(),
    "reach": reach,
    "slow": sorted(slow),
}))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFinding:
    """Something that is wrong with a node, or with all of them when ``node`` is ``None``."""

    node: str | None
    what: str
    hint: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"node": self.node, "what": self.what, "hint": self.hint}


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeReport:
    """What a node says of itself, between two times of the asking host's clock."""

    node: str
    properties: Mapping[str, Any]
    sent: float
    answered: float


class NodeAccess(Protocol):
    """A node that can be asked something."""

    def image(self) -> str:
        """Return which image it runs."""
        ...

    def state(self) -> str:
        """Return how it is, after "it"."""
        ...

    def tell(self, argv: Sequence[str]) -> str:
        """Run a program in it; return what that wrote on stdout. ``NodeSilent`` if it cannot."""
        ...


class NodeSilent(Exception):
    """A node does not answer."""


Answers = tuple[tuple[NodeReport, ...], tuple[NodeFinding, ...]]


def ask(
    nodes: Mapping[str, NodeAccess], master: str | None, now: Callable[[], float] = time.time
) -> Answers:
    """Ask every node at once; one that does not answer is a finding.

    ``master`` is the host that all must reach.
    """
    ports = [(master, 7077)] if master else []
    program = ["python3", "-c", _PROBE, json.dumps(ports)]
    with pool_of(len(nodes) or 1) as pool:
        asking = [submitted(pool, _ask, name, node, program, now) for name, node in nodes.items()]
        answers = [future.result() for future in asking]
    told = tuple(one for one in answers if isinstance(one, NodeReport))
    return told, tuple(one for one in answers if isinstance(one, NodeFinding))


def _ask(
    name: str, node: NodeAccess, program: Sequence[str], now: Callable[[], float]
) -> NodeReport | NodeFinding:
    try:
        sent = now()
        lines = node.tell(program).splitlines()
        properties = {"image": node.image(), **json.loads(lines[-1] if lines else "")}
        return NodeReport(node=name, properties=properties, sent=sent, answered=now())
    except (NodeSilent, ValueError):
        what = f"{name} does not answer: it {node.state()}"
        return NodeFinding(node=name, what=what, hint=f"`mlruntime cluster logs … {name}`")


@dataclass(frozen=True, slots=True)
class _InContainer:
    container: Container

    def image(self) -> str:
        return self.container.image_id()

    def state(self) -> str:
        return str(self.container.state())

    def tell(self, argv: Sequence[str]) -> str:
        try:
            found = [line for stream, line in self.container.exec(argv) if stream == "stdout"]
        except Unavailable as error:
            raise NodeSilent from error
        return "\n".join(found)


def ask_containers(engine: Engine, cluster: Standing) -> Answers:
    """Ask every node of a cluster of containers."""
    nodes = {n: _InContainer(engine.container(thing.id)) for n, thing in cluster.nodes.items()}
    master = cluster.nodes.get("master")
    return ask(nodes, master.name if master else None)


def compare(told: Sequence[NodeReport]) -> tuple[NodeFinding, ...]:
    """Return what the nodes do not agree on; the majority is right."""
    found: list[NodeFinding] = []
    for key, hint in _SAME.items():
        values = {one.node: _shown(one.properties[key]) for one in told}
        usual = Counter(values.values()).most_common(1)
        found += [
            NodeFinding(
                node=node, what=f"{node} has {key} {value}, others {usual[0][0]}", hint=hint
            )
            for node, value in values.items()
            if value != usual[0][0]
        ]
    for one in told:
        found += _of_clock(one)
        found += [
            NodeFinding(
                node=one.node,
                what=f"{one.node} cannot connect to {host}: {why}",
                hint="a firewall, or a name that does not resolve",
            )
            for host, why in one.properties["reach"].items()
            if why
        ]
        found += [
            NodeFinding(
                node=one.node,
                what=f"{one.node}: {jvm} did not take its class data, and so started slowly",
                hint="`mlruntime store verify`, then down and up again",
            )
            for jvm in one.properties["slow"]
        ]
    return tuple(found)


def _of_clock(one: NodeReport) -> list[NodeFinding]:
    clock = float(one.properties["clock"])
    off = max(one.sent - clock, clock - one.answered, 0.0)
    if off <= _CLOCK_SECONDS:
        return []
    what = f"the clock of {one.node} is off by {off:.0f} s"
    return [NodeFinding(node=one.node, what=what, hint="synchronise it with NTP")]


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value) or "none"
