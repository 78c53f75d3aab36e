"""Programs on a standing cluster: each runs in a container of its own, which is its driver."""

import queue
import secrets
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from mlruntime.cluster.settings import properties
from mlruntime.cluster.signals import ended_as_by_ctrl_c, unimpressed
from mlruntime.cluster.standing import CLUSTER, Standing, network_of
from mlruntime.cluster.starting import CONF, HOME, image_user, mounts
from mlruntime.engine import Container, Engine, Service, owner
from mlruntime.engine.archives import packed, read_file
from mlruntime.engine.values import Stream
from mlruntime.errors import MlruntimeError, UsageError

# A program that is in the image already, as spark-submit writes it.
_INSIDE: Final = "local:"
# Where settings of a program's own are: the folder, and the file in it.
_PROPERTIES: Final = ("/tmp", "submit.conf")
PROPERTIES: Final = "/".join(_PROPERTIES)
OnLine = Callable[[Stream, str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A program for ``spark-submit``. Files are this host's; they go into its working directory.

    ``py_files``, ``files`` and ``archives`` are what ``spark-submit`` sends on to the executors.
    """

    program: str
    arguments: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    py_files: tuple[Path, ...] = ()
    archives: tuple[Path, ...] = ()
    main_class: str | None = None
    settings: Mapping[str, str] | None = None

    def options(self, properties: str | None = None) -> tuple[str, ...]:
        """Return what ``spark-submit`` is told besides the program, and by the file of properties.

        Settings may be secret, and a command line or an environment can be seen by others.
        """
        words = ["--properties-file", properties] if properties else []
        if self.main_class:
            words += ["--class", self.main_class]
        for option, paths in (
            ("--files", self.files),
            ("--py-files", self.py_files),
            ("--archives", self.archives),
        ):
            if paths:
                words += [option, ",".join(f"{HOME}/{path.name}" for path in paths)]
        return tuple(words)

    def command(self, properties: str | None = None) -> tuple[str, ...]:
        """Return the command line in the container, in which there is a file of ``properties``.

        Python runs as itself: below ``spark-submit``, its stderr would come out as stdout.
        """
        inside = self.program.startswith(_INSIDE)
        program = self.program if inside else f"{HOME}/{Path(self.program).name}"
        if not program.endswith(".py"):
            return ("spark-submit", *self.options(properties), program, *self.arguments)
        program = program.removeprefix(_INSIDE).removeprefix("//")
        return ("python", "-u", program, *self.arguments)

    def environment(self, properties: str | None = None) -> dict[str, str]:
        """Return what tells PySpark the options, as ``pyspark`` reads them."""
        return {"PYSPARK_SUBMIT_ARGS": shlex.join([*self.options(properties), "pyspark-shell"])}

    def sent(self) -> dict[str, Path]:
        """Return this host's files by the name that they get; ``UsageError`` if one is not there.

        Two with one name are refused: one would replace the other.
        """
        own = () if self.program.startswith(_INSIDE) else (Path(self.program),)
        found: dict[str, Path] = {}
        for path in (*own, *self.files, *self.py_files, *self.archives):
            if not path.is_file():
                raise UsageError(f"there is no file {path}", hint="what is sent must be a file")
            if path.name in found and found[path.name] != path:
                raise UsageError(
                    f"{found[path.name]} and {path} have the same name",
                    why="all files go into one directory",
                )
            found[path.name] = path
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedJob:
    """How a job ended; ``out_of_memory``: it used up what its container or pod may have."""

    job: str
    exit_code: int
    out_of_memory: bool

    def killed_for_memory(self, limit: int | None, of: str) -> str | None:
        """Return a line for people if it was, by the ``limit`` in bytes of its container or pod."""
        if not self.out_of_memory:
            return None
        size = (limit or 0) / (1 << 30)
        return f"{self.job} was killed: it used more than the {size:g} GiB of its {of}"


def submit(engine: Engine, cluster: Standing, job: Job, on_line: OnLine) -> FinishedJob:
    """Run a program to its end, passing on what it writes; then nothing of it is left.

    Ctrl-C ends it. When this process is killed, the next cluster or job removes what is left.
    """
    engine.sweep()
    with ended_as_by_ctrl_c(), _job(engine, cluster, job, kept=False) as (ident, container):
        for stream, line in streamed(container):
            on_line(stream, line)
        code, state = container.wait(), container.state()
    return FinishedJob(job=ident, exit_code=code, out_of_memory=state.oom_killed)


def detach(engine: Engine, cluster: Standing, job: Job) -> str:
    """Start a program and leave it running; return the job's name for ``logs`` and ``status``."""
    ident, container = _started(engine, cluster, job, kept=True)
    del container
    return ident


@contextmanager
def _job(
    engine: Engine, cluster: Standing, job: Job, *, kept: bool
) -> Iterator[tuple[str, Container]]:
    ident, container = _started(engine, cluster, job, kept=kept)
    try:
        yield ident, container
    finally:
        with unimpressed():
            container.remove()


def _started(engine: Engine, cluster: Standing, job: Job, *, kept: bool) -> tuple[str, Container]:
    files, ident = job.sent(), f"job-{secrets.token_hex(3)}"
    given = PROPERTIES if job.settings else None
    return ident, start_beside(
        engine,
        cluster,
        ident,
        job.command(given),
        environment=job.environment(given),
        files=files,
        settings=job.settings,
        kept=kept,
    )


def start_beside(
    engine: Engine,
    cluster: Standing,
    ident: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    files: Mapping[str, Path] | None = None,
    settings: Mapping[str, str] | None = None,
    kept: bool = False,
) -> Container:
    """Start a container beside a cluster's nodes that can be the driver of an application.

    With ``settings``, it has a file of properties: the cluster's own, and these.
    """
    spec, host = cluster.spec, f"mlr-{cluster.name}-{ident}"
    user = image_user(engine, spec.image)
    sent: dict[str, Callable[[], Iterator[bytes]]] = {}
    if files:
        sent[HOME] = partial(packed, dict(files), user=user)
    if settings:
        sent |= settings_file(engine, host, settings, user)
    return engine.start(
        spec.image,
        command,
        name=host,
        run=f"{cluster.name}-{ident}",
        role=ident,
        hostname=host,
        network=network_of(cluster.name, cluster.run),
        mounts=(*mounts(cluster.name, cluster.run), *spec.mounts),
        environment={"SPARK_LOCAL_HOSTNAME": host, **spec.environment, **(environment or {})},
        memory=spec.limit,
        labels={CLUSTER: cluster.name, **({owner.KEPT: "1"} if kept else {})},
        files=sent or None,
        service=Service(),
    )


def settings_file(
    engine: Engine, host: str, settings: Mapping[str, str], user: int
) -> dict[str, Callable[[], Iterator[bytes]]]:
    """Return what puts ``PROPERTIES`` into the container ``host``, for its user's eyes only."""
    return {_PROPERTIES[0]: partial(_properties, engine, host, settings, user)}


def _properties(
    engine: Engine, host: str, settings: Mapping[str, str], user: int
) -> Iterator[bytes]:
    """Return all settings of a job: Spark that is given a file of them reads no other."""
    own = read_file(engine.container(host).get(f"{CONF}/spark-defaults.conf")).decode()
    text = f"{own.rstrip()}\n\n{properties(settings)}"
    return packed({_PROPERTIES[1]: text.encode()}, user=user, mode=0o400)


@contextmanager
def beside(engine: Engine, cluster: Standing) -> Iterator[Container]:
    """Yield a container in which applications of the cluster can be started by hand."""
    engine.sweep()
    ident = f"job-{secrets.token_hex(3)}"
    with ended_as_by_ctrl_c():
        container = start_beside(engine, cluster, ident, ["sleep", "infinity"])
        try:
            yield container
        finally:
            with unimpressed():
                container.remove()


def streamed(container: Container) -> Iterator[tuple[Stream, str]]:
    """Yield what a container writes until it ends; each stream in order, one beside the other."""
    items: queue.Queue[tuple[Stream, str] | MlruntimeError | None] = queue.Queue()

    def pump(stream: Stream) -> None:
        try:
            for line in container.follow(stream):
                items.put((stream, line))
            items.put(None)
        except MlruntimeError as error:
            items.put(error)

    streams: tuple[Stream, ...] = ("stdout", "stderr")
    for stream in streams:
        threading.Thread(target=pump, args=(stream,), daemon=True, name=stream).start()
    open_streams = len(streams)
    while open_streams:
        item = items.get()
        if isinstance(item, MlruntimeError):
            raise item
        if item is None:
            open_streams -= 1
        else:
            yield item
