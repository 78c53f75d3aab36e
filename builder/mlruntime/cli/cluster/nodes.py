"""``mlruntime cluster status``, ``logs``, ``doctor`` and ``list``: how clusters are."""

from typing import Annotated, Any

import typer

from mlruntime.cli.cluster.options import JSON, NAME, Namespace, On, passing, place
from mlruntime.cli.output import emit
from mlruntime.cluster.nodes import compare
from mlruntime.cluster.status import Status
from mlruntime.documents.tables import Table, plain
from mlruntime.errors import Unavailable
from mlruntime.workflows.cluster.place import ClusterSummary
from mlruntime.workflows.cluster.places import CONTAINERS


def status(
    ctx: typer.Context,
    name: Annotated[str, NAME],
    on: On = CONTAINERS,
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show a cluster's nodes, what its master says, and its jobs."""
    with place(ctx, on, namespace) as there:
        found = there.status(name)
    nodes = tuple((n.name, n.state, str(n.restarts)) for n in found.status.nodes)
    table = Table(title=f"Cluster {name}", columns=("node", "state", "restarts"), rows=nodes)
    lines = [plain(table), "", _told(found.status)]
    value = found.status.to_dict()
    if found.addresses is not None:
        lines += [f"{service:8} {url}" for service, url in found.addresses.items()]
        value["addresses"] = dict(found.addresses)
    emit(value, "\n".join(lines), as_json)


def _told(found: Status) -> str:
    if found.master is None:
        return "the master does not answer"
    m = found.master
    return (
        f"{m['alive_workers']} workers, {m['cores_used']} of {m['cores']} cores in use, "
        f"{m['applications']} applications"
    )


def logs(
    ctx: typer.Context,
    name: Annotated[str, NAME],
    node: Annotated[
        str, typer.Argument(metavar="NODE|JOB", help="such as master, worker-1 or job-7aea04")
    ] = "master",
    follow: Annotated[bool, typer.Option("--follow", help="go on printing until it ends")] = False,
    tail: Annotated[int, typer.Option(metavar="N", min=1, help="print the last N lines")] = 100,
    on: On = CONTAINERS,
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Print what a node or a job has written."""
    with place(ctx, on, namespace) as there:
        if follow:
            pass_on = passing(as_json)
            for stream, line in there.follow(name, node, tail=tail):
                pass_on(stream, line)
            return
        node, lines = there.logs(name, node, tail=tail)
    emit({"node": node, "lines": list(lines)}, "\n".join(lines), as_json)


def doctor(
    ctx: typer.Context,
    name: Annotated[str, NAME],
    on: On = CONTAINERS,
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Compare the nodes of a cluster.

    Exits with 6 if image, Python, Java, settings, network or clock of one differ, or if it does
    not answer.
    """
    with place(ctx, on, namespace) as there:
        told, silent = there.doctor(name)
    found = (*silent, *compare(told))
    nodes = [{"node": one.node, **one.properties} for one in told]
    lines = [f"{f.what}\n  try: {f.hint}" for f in found]
    text = "\n".join(lines) or f"cluster {name}: its {len(nodes)} nodes agree"
    emit({"nodes": nodes, "findings": [f.to_dict() for f in found]}, text, as_json)
    if found:
        raise typer.Exit(Unavailable.exit_code)


def list_(
    ctx: typer.Context,
    on: On = CONTAINERS,
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """List the clusters in the engine, or in a namespace."""
    with place(ctx, on, namespace) as there:
        found = [_summary(one) for one in there.clusters()]
    columns = tuple(found[0]) if found else ("name", "state", "workers")
    rows = tuple(tuple(str(one[column]) for column in columns) for one in found)
    emit({"clusters": found}, plain(Table(title="Clusters", columns=columns, rows=rows)), as_json)


def _summary(cluster: ClusterSummary) -> dict[str, Any]:
    known = {"name": cluster.name, "state": cluster.state, "workers": cluster.workers}
    return known if cluster.jobs is None else {**known, "jobs": cluster.jobs}
