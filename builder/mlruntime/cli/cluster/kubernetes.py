"""``mlruntime cluster … --on kubernetes``."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from mlruntime.cli.output import emit, say
from mlruntime.cluster.form import ClusterForm
from mlruntime.cluster.jobs import Job
from mlruntime.cluster.kubernetes import standalone
from mlruntime.cluster.kubernetes.jobs import CONTAINER, beside, detach
from mlruntime.cluster.kubernetes.jobs import submit as run_job
from mlruntime.cluster.kubernetes.kubectl import Kubectl, kubectl
from mlruntime.cluster.kubernetes.nodes import ask_pods
from mlruntime.cluster.kubernetes.scaling import scale as scale_to
from mlruntime.cluster.nodes import Answers
from mlruntime.cluster.status import Status
from mlruntime.definitions.files import Definitions
from mlruntime.documents.tables import Table, plain
from mlruntime.errors import UsageError
from mlruntime.workflows.cluster.containers import cluster_templates, wanted_elsewhere

PLACES = ("containers", "kubernetes")


def asked(on: str, namespace: str | None) -> Kubectl | None:
    """Return what asks a Kubernetes, if that is what ``--on`` names."""
    if on not in PLACES:
        raise UsageError(f"clusters do not run on {on!r}", hint=f"one of: {', '.join(PLACES)}")
    if on == "kubernetes":
        return kubectl(os.environ, namespace)
    if namespace is not None:
        raise UsageError("--namespace is for --on kubernetes")
    return None


def up(
    kube: Kubectl,
    root: Path,
    form: ClusterForm,
    name: str,
    image: str | None,
    *,
    timings: bool,
    as_json: bool,
) -> None:
    """Start a cluster, and say how to reach its pages."""
    definitions = Definitions(root)
    wanted, notes = wanted_elsewhere(definitions, form, "kubernetes", name, image=image)
    for what in notes:
        say(f"{what} is not part of a cluster on Kubernetes")
    seconds = standalone.up(kube, wanted, cluster_templates(definitions), say=say)
    seconds["all"] = round(sum(seconds.values()), 2)
    namespace = f" --namespace {kube.namespace}" if kube.namespace else ""
    page = f"kubectl{namespace} port-forward service/{name}-master 8080"
    value = {
        "name": name,
        "runtime": form.runtime,
        "image": wanted.spec.image,
        "workers": form.workers,
        "namespace": kube.namespace,
        "master": f"spark://{name}-master:7077",
        "seconds": seconds,
    }
    lines = [
        f"cluster {name} of {form.runtime} is ready: {form.workers} workers",
        f"its web page: {page}",
    ]
    if timings:
        lines += [f"{phase:10} {s:6.2f} s" for phase, s in seconds.items()]
    emit(value, "\n".join(lines), as_json)


def submit(
    kube: Kubectl,
    root: Path,
    name: str,
    job: Job,
    on_line: Callable[[str], None],
    *,
    detached: bool,
    as_json: bool,
) -> None:
    """Run a program, or start it; ends with the program's exit code."""
    job.sent()
    cluster, templates = standalone.find(kube, name), cluster_templates(Definitions(root))
    if detached:
        ident = detach(kube, cluster, job, templates)
        emit({"cluster": name, "job": ident}, ident, as_json)
        return
    ended = run_job(kube, cluster, job, templates, on_line)
    if ended.out_of_memory:
        limit = (cluster.spec.limit or 0) / (1 << 30)
        say(f"{ended.job} was killed: it used more than the {limit:g} GiB of its pod")
    if as_json:
        emit({"cluster": name, "job": ended.job, "exit_code": ended.exit_code}, "", as_json=True)
    if ended.exit_code:
        raise typer.Exit(ended.exit_code)


def shell(kube: Kubectl, root: Path, name: str, argv: Sequence[str]) -> int:
    """Run a program on the terminal, in a pod beside a cluster; return its exit code."""
    cluster, templates = standalone.find(kube, name), cluster_templates(Definitions(root))
    with beside(kube, cluster, templates) as pod:
        return kube.interact(pod, CONTAINER, argv)


def scale(kube: Kubectl, name: str, workers: int) -> list[str]:
    """Change the number of workers; return the names of those that there are then."""
    numbers = scale_to(kube, standalone.find(kube, name), workers, say=say)
    return [f"worker-{number}" for number in numbers]


def doctor(kube: Kubectl, name: str) -> Answers:
    """Ask every node of a cluster."""
    return ask_pods(kube, standalone.find(kube, name))


def status(kube: Kubectl, name: str, told: Callable[[Status], str], *, as_json: bool) -> None:
    """Show a cluster's pods, and what its master says."""
    standalone.find(kube, name)
    found = standalone.status(kube, name)
    rows = tuple((n.name, n.state, str(n.restarts)) for n in found.nodes)
    table = plain(Table(title=f"Cluster {name}", columns=("node", "state", "restarts"), rows=rows))
    emit(found.to_dict(), "\n".join([table, "", told(found)]), as_json)


def logs(
    kube: Kubectl,
    name: str,
    node: str,
    on_line: Callable[[str], None],
    *,
    follow: bool,
    tail: int,
    as_json: bool,
) -> None:
    """Print what a pod has written."""
    standalone.find(kube, name)
    node = "master-0" if node == "master" else node
    lines = standalone.logs(kube, name, node, tail=tail, follow=follow)
    if follow:
        for line in lines:
            on_line(line)
        return
    written = list(lines)
    emit({"node": node, "lines": written}, "\n".join(written), as_json)


def down(kube: Kubectl, names: list[str] | None, *, as_json: bool) -> None:
    """Remove clusters; ``None``: all of the namespace."""
    chosen = list(standalone.standing(kube)) if names is None else names
    for name in chosen:
        standalone.find(kube, name)
    for name in chosen:
        standalone.remove(kube, standalone.label(name))
    emit({"removed": chosen}, "\n".join(f"removed cluster {n}" for n in chosen), as_json)


def list_(kube: Kubectl, *, as_json: bool) -> None:
    """List the clusters of a namespace."""
    found = [_summary(cluster) for cluster in standalone.standing(kube).values()]
    if not found:
        kube.must_have_namespace()
    rows = tuple((s["name"], s["state"], str(s["workers"])) for s in found)
    table = Table(title="Clusters", columns=("name", "state", "workers"), rows=rows)
    emit({"clusters": found}, plain(table), as_json)


def _summary(cluster: standalone.KubernetesCluster) -> dict[str, Any]:
    ready = " and ".join(f"{have} of {want} {role}" for role, (have, want) in cluster.ready.items())
    state = "running" if cluster.complete else f"{ready} ready"
    return {"name": cluster.name, "state": state, "workers": cluster.spec.workers}
