"""Files that start a cluster elsewhere, from its description and ``images/cluster/``. Core: no I/O.

Every place has templates in a folder of its own; each becomes a file of the same name without
``.j2``. What is said of the cluster is the same for all of them.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from mlruntime.cluster.description import ClusterSpec, Node, describe
from mlruntime.cluster.gpus import DISCOVERY
from mlruntime.cluster.settings import cluster_settings, may_be_secret, properties
from mlruntime.engine.values import Mount
from mlruntime.errors import InvalidDefinition, UsageError
from mlruntime.image.templates import render as rendered

PLACES: Final = ("compose", "kubernetes", "hosts", "slurm")
_MIB: Final = 1 << 20
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DAEMON_MIB: Final = 1024
# In Kubernetes and on hosts, nodes are found by other names than in an engine's network.
_MASTER: Final = {"kubernetes": "spark://{name}-master:7077", "slurm": "spark://@MASTER@:7077",
                  "hosts": "spark://@MASTER@:7077"}  # fmt: skip

# Of hosts, which can be drained: a worker that is told to end hands over first what it has. Without
# this, the signal that tells it would just end its JVM.
_DRAINED: Final = {
    "spark.decommission.enabled": "true",
    "spark.storage.decommission.enabled": "true",
}
# Where nodes are on the network of their hosts, Spark's pages would be there for everybody, and the
# page of an application shows its environment. Spark binds them to this address, and itself to the
# name; a master cannot show the pages of others then. As spark-env.sh, it counts for programs, too.
_PAGES: Final = """\
SPARK_LOCAL_IP=127.0.0.1
SPARK_LOCAL_HOSTNAME=${SPARK_LOCAL_HOSTNAME:-$(hostname -f)}
"""
_ON_LOOPBACK: Final = {"spark.ui.reverseProxy": "false"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """One file; ``secret``: only its owner may read it. ``executable``: it is a program."""

    text: str
    secret: bool = False
    executable: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFiles:
    """A program as a Job of Kubernetes: its name, the ConfigMap of its files, and what it runs.

    ``files`` are keys of the ConfigMap by the path that they get; ``restarts`` how often it is
    started again in its pod after it has failed; ``settings`` are Spark's, of this program.
    """

    name: str
    program: str
    command: tuple[str, ...]
    files: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    restarts: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderRequest:
    """What is to be rendered. ``secret`` is the cluster's, for places that are told it in a file.

    ``spark`` is the version of Spark in the image; ``driver`` the oldest driver of NVIDIA that the
    image runs with, if it is for GPUs. ``job`` is what a Job runs, else a program of the reader's.
    ``run`` is a label of every object on Kubernetes, so that who made them knows them again.
    """

    name: str
    spec: ClusterSpec
    secret: str
    spark: str
    driver: str | None = None
    job: JobFiles | None = None
    run: str = ""


def render(place: str, wanted: RenderRequest, templates: Mapping[str, str]) -> dict[str, Rendered]:
    """Return the files for a place by name; ``templates`` are those below ``images/cluster``."""
    known = variables(place, wanted, templates)
    found: dict[str, Rendered] = {}
    for path in sorted(templates):
        folder, _, name = path.partition("/")
        if folder != place or not name.endswith(".j2") or _left_out(name, wanted.spec):
            continue
        text = rendered(templates[path], known, file=f"images/cluster/{path}")
        target = name.removesuffix(".j2").replace("NAME", wanted.name)
        # A user's settings may be secret, and most files of a place have them.
        secret = target.startswith("secret") or bool(wanted.spec.settings)
        found[target] = Rendered(text=text, secret=secret, executable=target.endswith(".sh"))
    if not found:
        raise InvalidDefinition(f"images/cluster/{place} has no templates")
    if place in ("compose", "hosts"):
        found["spark.conf"] = Rendered(text=properties(settings(place, wanted)), secret=True)
    return found


def left_out(place: str, spec: ClusterSpec) -> tuple[ClusterSpec, tuple[str, ...]]:
    """Return a description with what a place can have, and what that leaves out."""
    if place == "compose":
        return spec, ()
    kept = tuple(m for m in spec.mounts if place != "slurm" or m.kind == "bind")
    port = spec.ports.get("ui", 0)
    notes = (
        (spec.history, "the history server"),
        (spec.connect, "Spark Connect"),
        (spec.notebook, "the notebook server"),
        (port, f"port {port} for the master's page"),
        *((m not in kept, f"volume {m.source}, which is no directory,") for m in spec.mounts),
    )
    told = tuple(what for there, what in notes if there)
    none = replace(spec, history=False, connect=False, notebook=False)
    return replace(none, ports={}, mounts=kept), told


def withheld(place: str, spec: ClusterSpec) -> tuple[str, ...]:
    """Return what a place's files do not have because everybody there could read it."""
    if place != "kubernetes":
        return ()
    files = "native-cluster.yaml and spark-application.yaml"
    return tuple(f"{key} of {files}" for key in spec.settings if may_be_secret(key))


def _left_out(name: str, spec: ClusterSpec) -> bool:
    return "gpu" in name and not spec.gpus.each


def settings(place: str, wanted: RenderRequest) -> dict[str, str]:
    """Return Spark's settings in a place, without the secret."""
    url = _MASTER.get(place, describe(wanted.spec, wanted.name).master_url)
    drained = _DRAINED if place == "hosts" else {}
    own = cluster_settings(wanted.spec, url.format(name=wanted.name))
    pages = _ON_LOOPBACK if place in ("hosts", "slurm") else {}
    return {**drained, **own, **pages}


def variables(place: str, wanted: RenderRequest, templates: Mapping[str, str]) -> dict[str, Any]:
    """Return what a template may use."""
    spec, name = wanted.spec, wanted.name
    described = describe(spec, name)
    limit = (spec.limit or 0) // _MIB
    shown = {key: value for key, value in spec.settings.items() if not may_be_secret(key)}
    return {
        "name": name,
        "prefix": f"mlr-{name}",
        "pages": _PAGES.rstrip(),
        "image": spec.image,
        "workers": spec.workers,
        "cores": spec.cores,
        "offered": spec.memory,
        "limit": f"{limit}m",
        "limit_mib": limit,
        "daemon_mib": _DAEMON_MIB,
        "gpus": spec.gpus.each,
        "discovery": DISCOVERY,
        "worker_gpus": spec.gpus.worker().get("SPARK_WORKER_OPTS", ""),
        "history": spec.history,
        "connect": spec.connect,
        "secret": wanted.secret,
        "encoded_secret": b64encode(wanted.secret.encode()).decode(),
        "described": msgspec.json.encode(replace(spec, settings={})).decode(),
        "job": wanted.job or _own_job(name),
        "spark": wanted.spark,
        "run": wanted.run,
        "driver": wanted.driver or "",
        "settings": settings(place, wanted),
        "conf": properties(settings(place, wanted)),
        "configure": templates["configure.sh.j2"].rstrip("\n"),
        "nodes": [_node(node, spec, n) for n, node in enumerate(described.nodes)],
        "volumes": _volumes(spec),
        "mounts": spec.mounts,
        "named_volumes": sorted({m.source for m in spec.mounts if m.kind == "volume"}),
        "ports": dict(spec.ports),
        "user_settings": properties(spec.settings).splitlines(),
        "open_settings": shown,
        "open_lines": properties(shown).splitlines(),
        "job_settings": properties(wanted.job.settings if wanted.job else {}),
    }


def _own_job(name: str) -> JobFiles:
    """Return a Job of the program that the reader puts into a ConfigMap."""
    return JobFiles(
        name=f"{name}-job",
        program=f"{name}-program",
        command=("python", "-u", "/program/main.py"),
        files={"/program/main.py": "main.py"},
    )


def _node(node: Node, spec: ClusterSpec, position: int) -> dict[str, Any]:
    """Return one node for Compose; the first is the master, workers follow it."""
    daemon = node.role in ("master", "history")
    published = [p for p in node.ports if p.host is not None]
    first = (position - 1) * spec.gpus.each
    environment = dict(node.environment)
    environment.pop("SPARK_WORKER_OPTS", None)
    return {
        "name": node.name,
        "role": node.role,
        "host": node.host,
        "command": list(node.command),
        "environment": environment,
        "memory": f"{_DAEMON_MIB}m" if daemon else f"{(spec.limit or 0) // _MIB}m",
        "cores": node.cores,
        "ports": [f"127.0.0.1:{p.host or ''}:{p.number}" for p in published],
        "devices": [str(number) for number in range(first, first + spec.gpus.each)],
    }


def _volumes(spec: ClusterSpec) -> list[str]:
    own = ["conf:/etc/spark:ro", "shared:/shared", "/tmp", "/home/ml"]
    return [*own, *(_volume(mount) for mount in spec.mounts)]


def _volume(mount: Mount) -> str:
    """Return a mount for Compose, whose key of a volume must be none of the cluster's own."""
    source = f"external-{mount.source}" if mount.kind == "volume" else mount.source
    return f"{source}:{mount.target}" + (":ro" if mount.read_only else "")


def must_be_pullable(place: str, image: str) -> None:
    """Raise ``UsageError`` unless other machines get just this image by its name.

    An image that hosts have been given by hand is named by its id.
    """
    if place == "compose" or (place == "hosts" and _DIGEST.fullmatch(image)):
        return
    host, path, _ = image.partition("/")
    if not path or not ("." in host or ":" in host):
        raise UsageError(
            f"{image} is an image of this machine only",
            hint="push it, and name it with --image REGISTRY/NAME@sha256:…",
        )
    if not _DIGEST.fullmatch(image.rpartition("@")[2]):
        raise UsageError(
            f"{image} has no digest",
            why="a tag may be another image tomorrow, and one node would run that",
            hint="--image REGISTRY/NAME@sha256:…"
            + (", or the id of an image that the hosts have" if place == "hosts" else ""),
        )
