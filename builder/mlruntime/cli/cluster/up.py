"""``mlruntime cluster up``, ``prepare``, ``scale`` and ``down``."""

from typing import Annotated

import typer

from mlruntime.cli.cluster.options import (
    DEFAULT_NAME,
    JSON,
    NAME,
    ClusterName,
    Cores,
    File,
    Flavour,
    GpusEach,
    Memory,
    Namespace,
    On,
    Runtime,
    Variant,
    Workers,
    form_of,
    place,
    settings,
)
from mlruntime.cli.output import emit, say
from mlruntime.cluster.form import MOST_WORKERS, good_name
from mlruntime.definitions.files import Definitions
from mlruntime.engine import connect
from mlruntime.errors import UsageError
from mlruntime.store.store import Store
from mlruntime.workflows.cluster.class_data import have
from mlruntime.workflows.cluster.describing import find_image
from mlruntime.workflows.cluster.places import CONTAINERS
from mlruntime.workflows.store.stores import store_root


def up(
    ctx: typer.Context,
    runtime: Runtime = None,
    file: File = None,
    name: ClusterName = DEFAULT_NAME,
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="an image instead of the runtime's own")
    ] = None,
    variant: Variant = None,
    flavour: Flavour = None,
    workers: Workers = None,
    cores: Cores = None,
    memory: Memory = None,
    gpus: GpusEach = None,
    history: Annotated[
        bool | None, typer.Option("--history", help="also start Spark's history server")
    ] = None,
    connect_: Annotated[
        bool | None, typer.Option("--connect", help="also start the server of Spark Connect")
    ] = None,
    notebook: Annotated[
        bool | None, typer.Option("--notebook", help="also start JupyterLab")
    ] = None,
    spark: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="a Spark setting; repeatable")
    ] = None,
    class_data: Annotated[
        bool | None,
        typer.Option(
            "--class-data/--no-class-data",
            help="prepare the image first, so that JVMs start faster; or do without, though it is "
            "prepared",
        ),
    ] = None,
    on: On = CONTAINERS,
    namespace: Namespace = None,
    timings: Annotated[
        bool, typer.Option("--timings", help="print how long each phase took")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Start a cluster, and wait until it is ready.

    Options override what the file says.
    """
    good_name(name, UsageError)
    flags = {"runtime": runtime, "variant": variant, "flavour": flavour, "workers": workers,
             "cores": cores, "memory": memory, "gpus": gpus, "history": history,
             "connect": connect_, "notebook": notebook, "spark": settings(spark)}  # fmt: skip
    form = form_of(file, flags, image=image)
    with place(ctx, on, namespace) as there:
        made = there.up(form, name, image=image, class_data=class_data)
    seconds = {**made.seconds, "all": round(sum(made.seconds.values()), 2)}
    value = {
        "name": name,
        "runtime": made.runtime,
        "image": made.image,
        "workers": made.workers,
        "master": made.master,
        **made.details,
        "seconds": seconds,
    }
    lines = [f"cluster {name} of {made.runtime} is ready: {made.workers} workers"]
    lines += [f"{service:8} {page}" for service, page in made.pages.items()]
    if timings:
        lines += [f"{phase:10} {s:6.2f} s" for phase, s in seconds.items()]
    emit(value, "\n".join(lines), as_json)


def prepare(
    ctx: typer.Context,
    runtime: Runtime = None,
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="an image instead of a runtime's own")
    ] = None,
    variant: Variant = None,
    flavour: Flavour = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Prepare an image so that its clusters' JVMs start faster.

    It takes a minute or two, once. The store keeps an archive of classes.
    """
    form = form_of(
        None, {"runtime": runtime, "image": image, "variant": variant, "flavour": flavour}
    )
    store = Store(store_root())
    with connect() as engine, store.shared():
        found = find_image(engine, Definitions(ctx.obj.root), form)
        files = have(
            store, engine, found, before=lambda: say("preparing the image: a minute or two")
        ).files
    size = sum(path.stat().st_size for path in files.values())
    value = {"image": found.id, "size": size, "files": {n: str(p) for n, p in files.items()}}
    emit(value, f"prepared {found.id}: {size / 1e6:.0f} MB of class data", as_json)


def scale(
    ctx: typer.Context,
    name: Annotated[str, NAME],
    workers: Annotated[
        int,
        typer.Argument(
            metavar="WORKERS", min=1, max=MOST_WORKERS, help="the new number of workers"
        ),
    ],
    on: On = CONTAINERS,
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Change the number of a cluster's workers."""
    with place(ctx, on, namespace) as there:
        nodes = there.scale(name, workers)
    emit({"name": name, "workers": list(nodes)}, f"cluster {name}: {', '.join(nodes)}", as_json)


def down(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME…", help="clusters to remove")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="all clusters")] = False,
    on: On = CONTAINERS,
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Remove clusters, with their jobs, networks and volumes."""
    if bool(names) == all_:
        raise UsageError("no cluster is named", hint="name it, or --all; `mlruntime cluster list`")
    with place(ctx, on, namespace) as there:
        removed = there.down(None if all_ else names)
    emit({"removed": list(removed)}, "\n".join(f"removed cluster {n}" for n in removed), as_json)
