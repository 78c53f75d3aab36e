"""JupyterLab beside a standing cluster of containers: its notebooks are drivers of applications."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from mlruntime.cluster.description import NOTEBOOK_PORT, notebook_node
from mlruntime.cluster.jobs import PROPERTIES, settings_file
from mlruntime.cluster.readiness import ContainerProcess, await_exec
from mlruntime.cluster.running import ClusterFailed
from mlruntime.cluster.signals import ended_as_by_ctrl_c, postponed, unimpressed
from mlruntime.cluster.standing import Standing
from mlruntime.cluster.starting import image_user, port_is_taken, start_node
from mlruntime.engine import Container, Engine, Mount
from mlruntime.errors import CommandFailed, UsageError

READY_SECONDS: Final = 120.0
_PAUSE: Final = 0.1
NODE: Final = "notebook"
# Runs in any node: all have the same image.
HAS_JUPYTER: Final = ("sh", "-c", "command -v jupyter-lab || true")
HEALTHY: Final = ("/opt/entrypoint.sh", "health", NODE)
ADDRESS: Final = ("/opt/entrypoint.sh", "token")
_UNTIL_HEALTHY: Final = ("sh", "-c", 'until "$@" 2>/dev/null; do sleep 0.2; done', "-", *HEALTHY)


@dataclass(frozen=True, kw_only=True, slots=True)
class NotebookOptions:
    """What a notebook server is started with.

    ``port`` is the host's; ``directory`` where its files are, instead of its own, which goes with
    it; ``settings`` are Spark's of all applications that notebooks start.
    """

    port: int | None = None
    directory: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def options(self) -> tuple[str, ...]:
        """Return what JupyterLab is told."""
        return (f"--ServerApp.root_dir={self.directory}",) if self.directory else ()

    def must_be_kept(self, volumes: Iterable[Mount]) -> None:
        """Raise ``UsageError`` when the directory is in no volume that can be written to."""
        if self.directory is None:
            return
        kept = [mount.target for mount in volumes if not mount.read_only]
        if not any(f"{self.directory}/".startswith(f"{target}/") for target in kept):
            raise UsageError(
                f"{self.directory} is in no volume of the cluster that can be written to",
                why="what is written elsewhere goes with the notebook server",
                hint=f"volumes: {', '.join(kept)}" if kept else "describe one: `volumes:`",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenNotebook:
    """A notebook server that answers; ``address`` has the token that lets in whoever has it.

    ``forward`` is a command that the address needs first; ``started``: it was not there before.
    """

    address: str
    started: bool
    forward: str | None = None


def open_notebook(
    engine: Engine,
    cluster: Standing,
    wanted: NotebookOptions,
    *,
    ready: float = READY_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> OpenNotebook:
    """Return a cluster's notebook server once it answers, started if there is none.

    A new one is removed again when that fails or is interrupted. Raises ``UsageError`` when there
    is one already and ``wanted`` asks for more than that.
    """
    there = cluster.nodes.get(NODE)
    if there is None:
        return _started(engine, cluster, wanted, ready, clock)
    if wanted != NotebookOptions():
        raise already(cluster.name)
    container = engine.container(there.id)
    with ended_as_by_ctrl_c():
        begun = clock()
        while not container.state().running and clock() < begun + ready:
            container.start_again()  # nothing, where the engine is about to do that itself
            time.sleep(_PAUSE)
        _await(container, ready, clock)
    return OpenNotebook(address=_address(container), started=False)


def _started(
    engine: Engine,
    cluster: Standing,
    wanted: NotebookOptions,
    ready: float,
    clock: Callable[[], float],
) -> OpenNotebook:
    wanted.must_be_kept(cluster.spec.mounts)
    master = engine.container(cluster.nodes["master"].id)
    must_have_jupyter([line for _, line in master.exec(HAS_JUPYTER)], cluster.spec.image)
    with ended_as_by_ctrl_c(), ExitStack() as undo:
        with postponed():
            container = _start(engine, cluster, wanted)
            undo.callback(_remove, container)
        _await(container, ready, clock)
        found = OpenNotebook(address=_address(container), started=True)
        undo.pop_all()
    return found


def _start(engine: Engine, cluster: Standing, wanted: NotebookOptions) -> Container:
    # Settings may be secret: an environment can be seen by everybody who may ask the engine.
    words = f"--properties-file {PROPERTIES} pyspark-shell"
    told = {"PYSPARK_SUBMIT_ARGS": words} if wanted.settings else {}
    node = notebook_node(
        cluster.spec,
        cluster.name,
        class_data=cluster.class_data,
        options=wanted.options(),
        environment=told,
        port=wanted.port,
    )
    user = image_user(engine, node.image)
    files = settings_file(engine, node.host, wanted.settings, user) if wanted.settings else None
    try:
        return start_node(engine, cluster.name, cluster.run, node, files=files)
    except CommandFailed as error:
        if not port_is_taken(error):
            raise
        hint = "another --port, or none: any that is free is taken then"
        raise ClusterFailed(error.what, why=error.why, hint=hint) from None


def _remove(container: Container) -> None:
    with unimpressed():
        container.remove()


def stop_notebook(engine: Engine, cluster: Standing) -> None:
    """Remove a cluster's notebook server; ``UsageError`` when it has none."""
    if (there := cluster.nodes.get(NODE)) is None:
        raise none_there(cluster.name)
    with unimpressed():
        engine.remove([there])


def must_have_jupyter(found: Iterable[str], image: str) -> None:
    """Raise ``UsageError`` unless ``HAS_JUPYTER`` has found it."""
    if not any(line.endswith("/jupyter-lab") for line in found):
        raise UsageError(
            f"JupyterLab is not in the image of this cluster, {image}",
            why="driver and workers must have the same packages, so it must be in that image",
            hint="`mlruntime cluster up … --flavour notebook`",
        )


def already(name: str) -> UsageError:
    """Return the error for options that a notebook server cannot be given any more."""
    return UsageError(
        f"cluster {name} has a notebook server already, whose options stay as they are",
        hint=f"leave them out, or remove it first: `mlruntime cluster notebook --stop {name}`",
    )


def none_there(name: str) -> UsageError:
    """Return the error for a cluster without a notebook server."""
    return UsageError(
        f"cluster {name} has no notebook server",
        hint=f"`mlruntime cluster notebook {name}` starts one",
    )


def address_of(lines: Iterable[str], host: str) -> str:
    """Return what ``ADDRESS`` has printed, as an address at ``HOST:PORT``."""
    for line in lines:
        if (found := urlsplit(line)).scheme == "http":
            return found._replace(netloc=host).geturl()
    raise ClusterFailed("JupyterLab does not say where it is", hint="try again")


def _await(container: Container, ready: float, clock: Callable[[], float]) -> None:
    await_exec(
        NODE,
        container,
        lambda: ContainerProcess(container.exec(_UNTIL_HEALTHY)),
        what="JupyterLab",
        deadline=clock() + ready,
        clock=clock,
    )


def _address(container: Container) -> str:
    host = container.address(NOTEBOOK_PORT)
    if host is None:
        raise ClusterFailed("the engine does not publish the port of the notebook server")
    said = container.exec(ADDRESS)
    return address_of((line for stream, line in said if stream == "stdout"), host)
