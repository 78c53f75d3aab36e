"""``mlruntime cluster``: Spark clusters of containers."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mlruntime.cli import cluster_kubernetes as elsewhere
from mlruntime.cli.cluster_render import render
from mlruntime.cli.context import Context
from mlruntime.cli.output import emit, say, writable
from mlruntime.cluster.form import ClusterForm, good_name, with_flags
from mlruntime.cluster.jobs import Job, beside, detach, streamed
from mlruntime.cluster.jobs import submit as run_job
from mlruntime.cluster.nodes import ask, compare
from mlruntime.cluster.standing import addresses, find, standing
from mlruntime.cluster.starting import down as remove
from mlruntime.cluster.starting import scale as scale_to
from mlruntime.cluster.starting import up as start
from mlruntime.cluster.status import Status, status_of
from mlruntime.definitions.files import Definitions
from mlruntime.documents.tables import Table, plain
from mlruntime.engine import Engine, connect
from mlruntime.engine.values import Stream
from mlruntime.errors import Unavailable, UsageError
from mlruntime.workflows.clusters import choose, cluster_text

_JSON = typer.Option("--json", help="print the result as JSON")
_NAME = typer.Argument(metavar="NAME", help="the cluster's name")
_On = Annotated[str, typer.Option("--on", help="where: containers or kubernetes")]
_Namespace = Annotated[
    str | None, typer.Option(metavar="NAME", help="of Kubernetes, if not the context's own")
]
_SCHEMES = {"connect": "sc"}
DEFAULT_NAME = "default"


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    verbs = typer.Typer(
        no_args_is_help=True, help="Run Spark clusters of containers, from one description."
    )
    verbs.command("up")(up)
    through = {"allow_interspersed_args": False}
    verbs.command("submit", context_settings=through)(submit)
    verbs.command("shell", context_settings=through)(shell)
    verbs.command("status")(status)
    verbs.command("logs")(logs)
    verbs.command("scale")(scale)
    verbs.command("down")(down)
    verbs.command("list")(list_)
    verbs.command("doctor")(doctor)
    verbs.command("render")(render)
    app.add_typer(verbs, name="cluster")


def up(
    ctx: typer.Context,
    runtime: Annotated[
        str | None, typer.Argument(metavar="RUNTIME", help="a runtime's id, such as 7.0-ml")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE", help="a cluster.yaml")
    ] = None,
    name: Annotated[str, typer.Option(help="the cluster's name")] = DEFAULT_NAME,
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="an image instead of a runtime's own")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="cpu or gpu")] = None,
    workers: Annotated[int | None, typer.Option(help="how many workers")] = None,
    cores: Annotated[int | None, typer.Option(help="cores of one worker")] = None,
    memory: Annotated[str | None, typer.Option(help="memory of one worker: 4g")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs of one worker")] = None,
    history: Annotated[
        bool | None, typer.Option("--history", help="with Spark's history server")
    ] = None,
    connect_: Annotated[
        bool | None, typer.Option("--connect", help="with the server of Spark Connect")
    ] = None,
    spark: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="a setting of Spark; repeatable")
    ] = None,
    on: _On = "containers",
    namespace: _Namespace = None,
    timings: Annotated[
        bool, typer.Option("--timings", help="print how long each phase took")
    ] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Start a cluster of containers, or on Kubernetes; it is ready when this ends.

    Flags go before what the file says.
    """
    context: Context = ctx.obj
    good_name(name, UsageError)
    kube = elsewhere.asked(on, namespace)
    flags = {"runtime": runtime, "image": None if kube else image, "variant": variant,
             "workers": workers, "cores": cores, "memory": memory, "gpus": gpus,
             "history": history, "connect": connect_, "spark": _settings(spark)}  # fmt: skip
    form = _form(file, flags)
    if kube:
        elsewhere.up(kube, context.root, form, name, image, timings=timings, as_json=as_json)
        return
    with connect() as engine:
        chosen = choose(engine, Definitions(context.root), form)
        started = start(engine, chosen.spec, name, say=say)
    urls = _urls(started.addresses)
    seconds = {**started.seconds, "all": round(sum(started.seconds.values()), 2)}
    value = {
        "name": name,
        "runtime": chosen.runtime,
        "image": chosen.image.id,
        "workers": form.workers,
        "master": started.description.master_url,
        "addresses": urls,
        "seconds": seconds,
    }
    lines = [f"cluster {name} of {chosen.runtime} is ready: {form.workers} workers"]
    lines += [f"{service:8} {url}" for service, url in urls.items()]
    if timings:
        lines += [f"{phase:10} {s:6.2f} s" for phase, s in seconds.items()]
    emit(value, "\n".join(lines), as_json)


def _form(file: Path | None, flags: Mapping[str, object]) -> ClusterForm:
    if file is None:
        return with_flags(None, "the command line", flags)
    return with_flags(cluster_text(file), str(file), flags)


def _settings(pairs: list[str] | None) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key.startswith("spark."):
            raise UsageError(f"{pair!r} is not a setting", hint="spark.sql.ansi.enabled=true")
        found[key] = value
    return found or None


def _urls(found: Mapping[str, str]) -> dict[str, str]:
    return {
        service: f"{_SCHEMES.get(service, 'http')}://{address}"
        for service, address in found.items()
    }


def submit(
    ctx: typer.Context,
    name: Annotated[str, _NAME],
    program: Annotated[
        str, typer.Argument(metavar="PROGRAM", help="a .py or .jar file; local:PATH in the image")
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGUMENT…", help="the program's own")
    ] = None,
    files: Annotated[
        list[Path] | None, typer.Option("--file", help="a file for all nodes; repeatable")
    ] = None,
    py_files: Annotated[
        list[Path] | None, typer.Option("--py-file", help=".py or .zip to import; repeatable")
    ] = None,
    archives: Annotated[
        list[Path] | None, typer.Option("--archive", help="unpacked on all nodes; repeatable")
    ] = None,
    main_class: Annotated[str | None, typer.Option("--class", help="of a jar")] = None,
    spark: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="a setting of Spark; repeatable")
    ] = None,
    detached: Annotated[
        bool, typer.Option("--detach", help="do not wait: `cluster logs NAME JOB` follows it")
    ] = False,
    on: _On = "containers",
    namespace: _Namespace = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Run a program on a cluster; ends with the program's exit code.

    Options come before NAME. What the program writes goes to standard output and standard error,
    on Kubernetes to standard output; with --json all of it goes to standard error.
    """
    kube = elsewhere.asked(on, namespace)
    job = Job(
        program=program,
        arguments=tuple(arguments or ()),
        files=tuple(files or ()),
        py_files=tuple(py_files or ()),
        archives=tuple(archives or ()),
        main_class=main_class,
        settings=_settings(spark),
    )
    job.sent()
    if kube:
        root: Path = ctx.obj.root
        elsewhere.submit(kube, root, name, job, partial(_passing(as_json), "stdout"),
                         detached=detached, as_json=as_json)  # fmt: skip
        return
    with connect() as engine:
        cluster = find(engine, name)
        if detached:
            ident = detach(engine, cluster, job)
            emit({"cluster": name, "job": ident}, ident, as_json)
            return
        ended = run_job(engine, cluster, job, _passing(as_json))
    if ended.state.oom_killed:
        limit = (cluster.spec.limit or 0) / (1 << 30)
        say(f"{ended.job} was killed: it used more than the {limit:g} GiB of its container")
    if as_json:
        emit({"cluster": name, "job": ended.job, "exit_code": ended.exit_code}, "", as_json=True)
    if ended.exit_code:
        raise typer.Exit(ended.exit_code)


def _passing(all_to_stderr: bool) -> Any:
    def pass_on(stream: Stream, line: str) -> None:
        out = sys.stdout if stream == "stdout" and not all_to_stderr else sys.stderr
        with writable():
            print(line, file=out, flush=True)

    return pass_on


def shell(
    name: Annotated[str, _NAME],
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND…", help="spark-shell, bash, …")
    ] = None,
) -> None:
    """Open pyspark on a cluster, or another command, in this terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "a shell needs a terminal", hint="run a program: `mlruntime cluster submit`"
        )
    argv = ["/opt/entrypoint.sh", *(command or ["pyspark"])]
    with connect() as engine, beside(engine, find(engine, name)) as container:
        code = container.interact(argv, sys.stdin.fileno(), sys.stdout.fileno())
    if code:
        raise typer.Exit(code)


def status(
    name: Annotated[str, _NAME],
    on: _On = "containers",
    namespace: _Namespace = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Show a cluster's nodes, what its master says, and its jobs."""
    if kube := elsewhere.asked(on, namespace):
        elsewhere.status(kube, name, _told, as_json=as_json)
        return
    with connect() as engine:
        cluster = find(engine, name)
        found = status_of(engine, cluster)
        urls = _urls(addresses(engine, cluster))
    rows = tuple((n.name, n.state, str(n.restarts)) for n in found.nodes)
    table = plain(Table(title=f"Cluster {name}", columns=("node", "state", "restarts"), rows=rows))
    lines = [table, "", _told(found), *(f"{service:8} {url}" for service, url in urls.items())]
    emit({**found.to_dict(), "addresses": urls}, "\n".join(lines), as_json)


def _told(found: Status) -> str:
    if found.master is None:
        return "the master does not answer"
    m = found.master
    return (
        f"{m['alive_workers']} workers, {m['cores_used']} of {m['cores']} cores in use, "
        f"{m['applications']} applications"
    )


def logs(
    name: Annotated[str, _NAME],
    node: Annotated[
        str, typer.Argument(metavar="NODE|JOB", help="master, worker-1, job-…")
    ] = "master",
    follow: Annotated[bool, typer.Option("--follow", help="until it ends")] = False,
    tail: Annotated[int, typer.Option(min=1, help="so many lines")] = 100,
    on: _On = "containers",
    namespace: _Namespace = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Print what a node or a job has written."""
    if kube := elsewhere.asked(on, namespace):
        elsewhere.logs(kube, name, node, partial(_passing(as_json), "stdout"),
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
                _passing(as_json)(stream, line)
            return
        lines = container.logs(tail)
    emit({"node": node, "lines": list(lines)}, "\n".join(lines), as_json)


def scale(
    name: Annotated[str, _NAME],
    workers: Annotated[int, typer.Argument(min=1, max=64, help="how many workers there shall be")],
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Change the number of a cluster's workers."""
    with connect() as engine:
        numbers = scale_to(engine, find(engine, name), workers, say=say)
    nodes = [f"worker-{number}" for number in numbers]
    emit({"name": name, "workers": nodes}, f"cluster {name}: {', '.join(nodes)}", as_json)


def down(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME…")] = None,
    all_: Annotated[bool, typer.Option("--all", help="all clusters")] = False,
    on: _On = "containers",
    namespace: _Namespace = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Remove clusters with all they have: jobs, networks, volumes of their own."""
    if bool(names) == all_:
        raise UsageError("which cluster?", hint="name it, or --all; `mlruntime cluster list`")
    if kube := elsewhere.asked(on, namespace):
        elsewhere.down(kube, None if all_ else names, as_json=as_json)
        return
    with connect() as engine:
        chosen = tuple(standing(engine)) if all_ else tuple(names or ())
        for name in chosen:
            find(engine, name)
        for name in chosen:
            remove(engine, name)
    emit({"removed": list(chosen)}, "\n".join(f"removed cluster {n}" for n in chosen), as_json)


def doctor(name: Annotated[str, _NAME], as_json: Annotated[bool, _JSON] = False) -> None:
    """Compare the nodes of a cluster: image, Python, Java, settings, network, clock.

    Exits with 6 if one differs or does not answer.
    """
    with connect() as engine:
        told, silent = ask(engine, find(engine, name))
    found = (*silent, *compare(told))
    nodes = [{"node": one.node, **one.facts} for one in told]
    lines = [f"{f.what}\n  try: {f.hint}" for f in found]
    text = "\n".join(lines) or f"cluster {name}: its {len(nodes)} nodes agree"
    emit({"nodes": nodes, "findings": [f.to_dict() for f in found]}, text, as_json)
    if found:
        raise typer.Exit(Unavailable.exit_code)


def list_(
    on: _On = "containers",
    namespace: _Namespace = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List the clusters of the container engine, or of a namespace of Kubernetes."""
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
