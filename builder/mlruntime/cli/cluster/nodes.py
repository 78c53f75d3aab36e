"""``mlruntime cluster status``, ``logs``, ``doctor`` and ``list``: how clusters are."""

from functools import partial
from typing import Annotated, Any

import typer

from mlruntime.cli.cluster import kubernetes as elsewhere
from mlruntime.cli.cluster.options import JSON, NAME, Namespace, On, passing, urls
from mlruntime.cli.output import emit
from mlruntime.cluster.jobs import streamed
from mlruntime.cluster.nodes import ask_containers, compare
from mlruntime.cluster.standing import addresses, find, standing
from mlruntime.cluster.status import Status, status_of
from mlruntime.documents.tables import Table, plain
from mlruntime.engine import Engine, connect
from mlruntime.errors import Unavailable, UsageError


def status(
    name: Annotated[str, NAME],
    on: On = "containers",
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show a cluster's nodes, what its master says, and its jobs."""
    if kube := elsewhere.asked(on, namespace):
        elsewhere.status(kube, name, _told, as_json=as_json)
        return
    with connect() as engine:
        cluster = find(engine, name)
        found = status_of(engine, cluster)
        reached = urls(addresses(engine, cluster))
    rows = tuple((n.name, n.state, str(n.restarts)) for n in found.nodes)
    table = plain(Table(title=f"Cluster {name}", columns=("node", "state", "restarts"), rows=rows))
    lines = [table, "", _told(found), *(f"{service:8} {url}" for service, url in reached.items())]
    emit({**found.to_dict(), "addresses": reached}, "\n".join(lines), as_json)


def _told(found: Status) -> str:
    if found.master is None:
        return "the master does not answer"
    m = found.master
    return (
        f"{m['alive_workers']} workers, {m['cores_used']} of {m['cores']} cores in use, "
        f"{m['applications']} applications"
    )


def logs(
    name: Annotated[str, NAME],
    node: Annotated[
        str, typer.Argument(metavar="NODE|JOB", help="such as master, worker-1 or job-7aea04")
    ] = "master",
    follow: Annotated[bool, typer.Option("--follow", help="go on printing until it ends")] = False,
    tail: Annotated[int, typer.Option(metavar="N", min=1, help="print the last N lines")] = 100,
    on: On = "containers",
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Print what a node or a job has written."""
    if kube := elsewhere.asked(on, namespace):
        elsewhere.logs(kube, name, node, partial(passing(as_json), "stdout"),
                       follow=follow, tail=tail, as_json=as_json)  # fmt: skip
        return
    with connect() as engine:
        cluster = find(engine, name)
        known = {**cluster.nodes, **cluster.jobs}
        if node not in known:
            raise UsageError(f"cluster {name} has no {node}", hint=f"it has: {', '.join(known)}")
        container = engine.container(known[node].id)
        if follow:
            for stream, line in streamed(container):
                passing(as_json)(stream, line)
            return
        lines = container.logs(tail)
    emit({"node": node, "lines": list(lines)}, "\n".join(lines), as_json)


def doctor(
    name: Annotated[str, NAME],
    on: On = "containers",
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Compare the nodes of a cluster.

    Exits with 6 if image, Python, Java, settings, network or clock of one differ, or if it does
    not answer.
    """
    if kube := elsewhere.asked(on, namespace):
        told, silent = elsewhere.doctor(kube, name)
    else:
        with connect() as engine:
            told, silent = ask_containers(engine, find(engine, name))
    found = (*silent, *compare(told))
    nodes = [{"node": one.node, **one.properties} for one in told]
    lines = [f"{f.what}\n  try: {f.hint}" for f in found]
    text = "\n".join(lines) or f"cluster {name}: its {len(nodes)} nodes agree"
    emit({"nodes": nodes, "findings": [f.to_dict() for f in found]}, text, as_json)
    if found:
        raise typer.Exit(Unavailable.exit_code)


def list_(
    on: On = "containers",
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """List the clusters in the engine, or in a namespace."""
    if kube := elsewhere.asked(on, namespace):
        elsewhere.list_(kube, as_json=as_json)
        return
    with connect() as engine:
        found = [_summary(engine, name) for name in standing(engine)]
    rows = tuple((s["name"], s["state"], str(s["workers"]), str(s["jobs"])) for s in found)
    columns = ("name", "state", "workers", "jobs")
    emit({"clusters": found}, plain(Table(title="Clusters", columns=columns, rows=rows)), as_json)


def _summary(engine: Engine, name: str) -> dict[str, Any]:
    cluster = find(engine, name)
    down_ = [n for n, thing in cluster.nodes.items() if not thing.running]
    state = "starting" if cluster.mark is None else f"without {down_[0]}" if down_ else "running"
    return {
        "name": name,
        "state": state,
        "workers": len(cluster.workers),
        "jobs": len(cluster.jobs),
    }
