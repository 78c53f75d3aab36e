"""``mlruntime cluster up``, ``prepare``, ``scale`` and ``down``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from mlruntime.cli.cluster import kubernetes as elsewhere
from mlruntime.cli.cluster.options import (
    DEFAULT_NAME,
    JSON,
    NAME,
    ClusterName,
    Cores,
    File,
    GpusEach,
    Memory,
    Namespace,
    On,
    Runtime,
    Variant,
    Workers,
    form_of,
    settings,
    urls,
)
from mlruntime.cli.context import Context
from mlruntime.cli.output import emit, say
from mlruntime.cluster.class_data import ClassData
from mlruntime.cluster.form import ClusterForm, good_name
from mlruntime.cluster.leftovers import remove_left
from mlruntime.cluster.standing import find, standing
from mlruntime.cluster.starting import down as remove
from mlruntime.cluster.starting import must_be_free
from mlruntime.cluster.starting import scale as scale_to
from mlruntime.cluster.starting import up as start
from mlruntime.definitions.files import Definitions
from mlruntime.engine import Engine, ImageInfo, connect
from mlruntime.errors import UsageError
from mlruntime.store.store import Store
from mlruntime.workflows.cluster.class_data import for_a_cluster, have
from mlruntime.workflows.cluster.containers import choose, find_image
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
    on: On = "containers",
    namespace: Namespace = None,
    timings: Annotated[
        bool, typer.Option("--timings", help="print how long each phase took")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Start a cluster, and wait until it is ready.

    Options override what the file says.
    """
    context: Context = ctx.obj
    good_name(name, UsageError)
    kube = elsewhere.asked(on, namespace)
    flags = {"runtime": runtime, "image": None if kube else image, "variant": variant,
             "workers": workers, "cores": cores, "memory": memory, "gpus": gpus,
             "history": history, "connect": connect_, "spark": settings(spark)}  # fmt: skip
    form = form_of(file, flags)
    if kube:
        if class_data is not None:
            raise UsageError(
                "--class-data and --no-class-data are for clusters of containers",
                hint="leave it out with --on kubernetes",
            )
        elsewhere.up(kube, context.root, form, name, image, timings=timings, as_json=as_json)
        return
    with connect() as engine:
        chosen = choose(engine, Definitions(context.root), form)
        remove_left(engine, say)
        must_be_free(engine, name)  # before the image is prepared, which takes a while
        with class_data_of(engine, chosen.image, class_data) as archive:
            if archive is None and class_data is None:
                say(f"JVMs start faster once `mlruntime cluster prepare {_words(form)}` has run")
            started = start(engine, chosen.spec, name, class_data=archive, say=say)
    reached = urls(started.addresses)
    seconds = {**started.seconds, "all": round(sum(started.seconds.values()), 2)}
    value = {
        "name": name,
        "runtime": chosen.runtime,
        "image": chosen.image.id,
        "workers": form.workers,
        "master": started.description.master_url,
        "addresses": reached,
        "class_data": archive is not None,
        "seconds": seconds,
    }
    lines = [f"cluster {name} of {chosen.runtime} is ready: {form.workers} workers"]
    lines += [f"{service:8} {url}" for service, url in reached.items()]
    if timings:
        lines += [f"{phase:10} {s:6.2f} s" for phase, s in seconds.items()]
    emit(value, "\n".join(lines), as_json)


@contextmanager
def class_data_of(
    engine: Engine, image: ImageInfo, wanted: bool | None
) -> Iterator[ClassData | None]:
    """Yield an image's class data; ``None`` if there is none, or it is not wanted.

    It is made if it is ``wanted``; if nobody has said so, that of an image that is prepared.
    """
    if wanted is False:
        yield None
        return
    with for_a_cluster(Store(store_root()), engine, image, say, make=bool(wanted)) as found:
        yield found


def _words(form: ClusterForm) -> str:
    """Return what says to ``prepare`` which image is meant."""
    if form.runtime is None:
        return f"--image {form.image}"
    return form.runtime if form.variant == "cpu" else f"{form.runtime} --variant {form.variant}"


def prepare(
    ctx: typer.Context,
    runtime: Runtime = None,
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="an image instead of a runtime's own")
    ] = None,
    variant: Variant = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Prepare an image so that its clusters' JVMs start faster.

    It takes a minute or two, once. The store keeps an archive of classes.
    """
    form = form_of(None, {"runtime": runtime, "image": image, "variant": variant})
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
    name: Annotated[str, NAME],
    workers: Annotated[
        int, typer.Argument(metavar="WORKERS", min=1, max=64, help="the new number of workers")
    ],
    on: On = "containers",
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Change the number of a cluster's workers."""
    if kube := elsewhere.asked(on, namespace):
        nodes = elsewhere.scale(kube, name, workers)
    else:
        with connect() as engine:
            numbers = scale_to(engine, find(engine, name), workers, say=say)
        nodes = [f"worker-{number}" for number in numbers]
    emit({"name": name, "workers": nodes}, f"cluster {name}: {', '.join(nodes)}", as_json)


def down(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME…", help="clusters to remove")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="all clusters")] = False,
    on: On = "containers",
    namespace: Namespace = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Remove clusters, with their jobs, networks and volumes."""
    if bool(names) == all_:
        raise UsageError("no cluster is named", hint="name it, or --all; `mlruntime cluster list`")
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
