"""The container engine. The only module that imports the Docker SDK.

None of the SDK's errors leave it: they become ``Unavailable``, ``CommandFailed`` or
``OutOfSpace``. Whatever it creates carries the labels of ``builder.owner``, so that ``sweep``
can remove what a killed process left, and nothing else.
"""

import json
import os
import re
import secrets
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils import parse_repository_tag
from docker.utils.socket import STDERR, frames_iter
from urllib3.exceptions import HTTPError

from builder import owner
from builder.containers import (
    EngineInfo,
    ImageInfo,
    Lines,
    Mount,
    Owned,
    RunResult,
    State,
    Stream,
    chain_ids,
)
from builder.errors import CommandFailed, OutOfSpace, Unavailable

__all__ = [
    "Container",
    "Engine",
    "EngineInfo",
    "Exec",
    "ImageInfo",
    "Mount",
    "Owned",
    "RunResult",
    "State",
    "chain_ids",
]

TAIL_LINES: Final = 40
_LOAD_SECONDS: Final = 1800
_DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_START_HINT: Final = "start one: `./dev engine`, or install Docker, or set DOCKER_HOST"


class Engine:
    """A connection to one engine. Safe to use from several threads."""

    def __init__(self, api: Any, slow: Any) -> None:
        self._api = api
        self._slow = slow
        self._running: set[Container] = set()
        self._aborted = threading.Event()

    @classmethod
    def connect(cls) -> "Engine":
        """Connect to the engine that ``DOCKER_HOST`` names, else the local one.

        Raises ``Unavailable``, with how to start one, when none answers.
        """
        try:
            _knock(os.environ.get("DOCKER_HOST") or _DEFAULT_HOST)
            api = docker.from_env(version="auto", timeout=120).api
            slow = docker.from_env(version=api.api_version, timeout=_LOAD_SECONDS).api
        except (DockerException, OSError, HTTPError) as error:
            denied = "ermission denied" in str(error)
            raise Unavailable(
                "the container engine refuses us" if denied else "no container engine answers",
                why=_reason(error),
                hint="run as root or join the `docker` group" if denied else _START_HINT,
            ) from None
        return cls(api, slow)

    def close(self) -> None:
        """Close the connection."""
        self._api.close()
        self._slow.close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def info(self) -> EngineInfo:
        """Return the engine's version and its host's size."""
        with _translated("asking the engine about itself"):
            facts, version = self._api.info(), self._api.version()
        return EngineInfo(
            version=version["Version"],
            api=version["ApiVersion"],
            kernel=facts["KernelVersion"],
            cpus=facts["NCPU"],
            memory=facts["MemTotal"],
        )

    # images

    def image(self, reference: str) -> ImageInfo | None:
        """Return what is known of an image (a tag or an id), or ``None`` when it is not there."""
        try:
            with _translated(f"looking at image {reference}"):
                found = self._api.inspect_image(reference)
        except _Missing:
            return None
        config = found.get("Config") or {}
        return ImageInfo(
            id=found["Id"],
            tags=tuple(found.get("RepoTags") or ()),
            labels=dict(config.get("Labels") or {}),
            size=found["Size"],
            user=config.get("User") or "",
            environment=tuple(config.get("Env") or ()),
            diff_ids=tuple((found.get("RootFS") or {}).get("Layers") or ()),
        )

    def image_id(self, reference: str) -> str | None:
        """Return the id (``sha256:…`` of its config) of an image, or ``None``."""
        found = self.image(reference)
        return found.id if found else None

    def image_config(self, reference: str) -> ImageInfo:
        """Return what is known of an image; ``Unavailable`` when the engine does not have it."""
        found = self.image(reference)
        if found is None:
            raise Unavailable(
                f"the engine has no image {reference}", hint="build it: `mlruntime build … --load`"
            )
        return found

    def tags(self, repository: str) -> tuple[str, ...]:
        """Return the references (``REPOSITORY:TAG``) of a repository's images, sorted."""
        with _translated(f"listing images of {repository}"):
            images = self._api.images(name=repository)
        return tuple(sorted(tag for image in images for tag in image["RepoTags"] or ()))

    def chain_ids(self) -> frozenset[str]:
        """Return the OCI chain id of every layer stack that the engine can already build upon."""
        with _translated("listing images"):
            ids = {image["Id"] for image in self._api.images(all=True)}
        chains: set[str] = set()
        for image in ids:
            found = self.image(image)
            chains.update(chain_ids(found.diff_ids) if found else ())
        return frozenset(chains)

    def load(self, chunks: Iterable[bytes]) -> None:
        """Send an image archive (``docker save`` form), streamed.

        Layers whose chain id is in ``chain_ids`` may be left out of the archive.
        """
        with _translated("loading an image"):
            for message in self._slow.load_image(iter(chunks)):
                if "error" in message:
                    raise _failure("loading an image", str(message["error"]))

    def tag(self, image: str, reference: str) -> None:
        """Give an image one more name (``REPOSITORY:TAG``)."""
        repository, tag = parse_repository_tag(reference)
        with _translated(f"tagging {image} as {reference}"):
            self._api.tag(image, repository, tag)

    def remove_image(self, reference: str) -> None:
        """Remove an image's name, and the image when that was its last; nothing if not there."""
        with suppress(_Missing), _translated(f"removing image {reference}"):
            self._api.remove_image(reference)

    # containers

    def start(
        self,
        image: str,
        command: Sequence[str],
        *,
        name: str | None = None,
        run: str = "",
        role: str = "",
        hostname: str | None = None,
        entrypoint: Sequence[str] | None = None,
        mounts: Sequence[Mount] = (),
        environment: Mapping[str, str] | None = None,
        network: str = "none",
        user: str | None = None,
        workdir: str | None = None,
        memory: int | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> "Container":
        """Start a container and return at once; the caller must ``remove`` it.

        ``memory`` is a limit in bytes. When it cannot be started, nothing is left behind.
        """
        name = name or f"mlr-{secrets.token_hex(4)}"
        owned = {**(labels or {}), **owner.current().labels(run or name), owner.ROLE: role}
        container = Container(self._api, name=name)
        with _translated(f"starting container {name} from {image}"):
            try:
                self._api.create_container(
                    image,
                    list(command),
                    name=name,
                    hostname=hostname,
                    entrypoint=list(entrypoint) if entrypoint is not None else None,
                    environment=dict(environment or {}),
                    user=user,
                    working_dir=workdir,
                    labels=owned,
                    host_config=self._host_config(mounts, network, memory),
                )
                self._api.start(name)
            except BaseException as error:
                # "in use" means that the name is somebody else's container: leave that alone.
                if not (isinstance(error, APIError) and error.status_code == 409):
                    container.remove()
                raise
        return container

    def _host_config(self, mounts: Sequence[Mount], network: str, memory: int | None) -> Any:
        return self._api.create_host_config(
            network_mode=network,
            mem_limit=memory,
            memswap_limit=memory,
            mounts=[
                docker.types.Mount(m.target, m.source, type=m.kind, read_only=m.read_only)
                for m in mounts
            ],
            log_config=docker.types.LogConfig(type="json-file"),
        )

    def run(
        self,
        image: str,
        command: Sequence[str],
        *,
        on_line: Callable[[str], None] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> RunResult:
        """Run a container to its end and remove it, whatever happens; options as for ``start``.

        ``on_line`` gets each line (stdout and stderr) as it is written. After ``timeout``
        seconds, or when another thread calls ``abort``, the container is killed and
        ``CommandFailed`` raised, with its last lines.
        """
        container = self.start(image, command, **options)
        self._running.add(container)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            with suppress(Unavailable):
                container.kill()

        timer = threading.Timer(timeout, expire) if timeout is not None else None
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        try:
            if timer:
                timer.start()
            if self._aborted.is_set():
                container.kill()
            for line in container.follow():
                tail.append(line)
                if on_line:
                    on_line(line)
            code = container.wait()
        finally:
            if timer:
                timer.cancel()
            container.remove()
            self._running.discard(container)
        told = "\n       ".join(tail) or "it said nothing"
        what = command[0] if command else image
        if self._aborted.is_set():
            raise CommandFailed(f"{what} was interrupted", why=told)
        if expired.is_set():
            raise CommandFailed(f"{what} did not end within {timeout:.0f} s", why=told)
        return RunResult(exit_code=code, tail="\n".join(tail))

    def abort(self) -> None:
        """Make every ``run`` of other threads, now or later, end with ``CommandFailed``."""
        # First the flag, then the list; ``run`` does it the other way round: none slips through.
        self._aborted.set()
        for container in tuple(self._running):
            with suppress(Unavailable):
                container.kill()

    # networks and volumes

    def create_network(self, name: str, *, run: str) -> None:
        """Create a private bridge network: its containers reach each other and nothing else."""
        labels = owner.current().labels(run)
        with _translated(f"creating network {name}"):
            self._api.create_network(name, driver="bridge", internal=True, labels=labels)

    def create_volume(self, name: str, *, run: str) -> None:
        """Create a named volume."""
        with _translated(f"creating volume {name}"):
            self._api.create_volume(name, labels=owner.current().labels(run))

    # what we own

    def owned(self, labels: Mapping[str, str] | None = None) -> tuple[Owned, ...]:
        """Return what runs of this tool made and is still there: containers, networks, volumes.

        ``labels`` narrows it: only what has all of them.
        """
        wanted = [f"{key}={value}" for key, value in {owner.MARK: "1", **(labels or {})}.items()]
        filters = {"label": wanted}
        with _translated("listing containers"):
            containers = self._api.containers(all=True, filters=filters)
            networks = self._api.networks(filters=filters)
            volumes = self._api.volumes(filters=filters).get("Volumes") or []
        return (
            *(_owned("container", c["Id"], c["Names"][0].lstrip("/"), c) for c in containers),
            *(_owned("network", n["Id"], n["Name"], n) for n in networks),
            *(_owned("volume", v["Name"], v["Name"], v) for v in volumes),
        )

    def remove(self, things: Iterable[Owned]) -> None:
        """Remove containers (killing them), then networks and volumes; what is gone is no error."""
        order = ("container", "network", "volume")
        for thing in sorted(things, key=lambda t: order.index(t.kind)):
            with suppress(_Missing), _translated(f"removing {thing.kind} {thing.name}"):
                if thing.kind == "container":
                    Container(self._api, name=thing.id).remove()
                elif thing.kind == "network":
                    self._api.remove_network(thing.id)
                else:
                    self._api.remove_volume(thing.id, force=True)

    def sweep(self) -> tuple[Owned, ...]:
        """Remove, and return, what processes of this host left that are no longer there."""
        left = tuple(thing for thing in self.owned() if owner.abandoned(thing.labels))
        self.remove(left)
        return left


class Container:
    """A container of ours, by name."""

    def __init__(self, api: Any, *, name: str) -> None:
        self._api = api
        self.name = name

    def state(self) -> State:
        """Return whether it runs and how it ended; a removed one counts as killed."""
        try:
            state = self._inspect()["State"]
        except _Missing:
            return State(running=False, exit_code=137, oom_killed=False, error="it was removed")
        return State(
            running=bool(state["Running"]),
            exit_code=int(state["ExitCode"]),
            oom_killed=bool(state["OOMKilled"]),
            error=str(state.get("Error") or ""),
        )

    def image_id(self) -> str:
        """Return the id of the image it was made from."""
        return str(self._inspect()["Image"])

    def _inspect(self) -> dict[str, Any]:
        with _translated(f"looking at container {self.name}"):
            found: dict[str, Any] = self._api.inspect_container(self.name)
            return found

    def follow(self) -> Iterator[str]:
        """Yield its output, stdout and stderr together, line by line until it ends."""
        with _translated(f"reading the output of {self.name}"):
            lines = Lines()
            for chunk in self._api.logs(self.name, stream=True, follow=True):
                yield from lines.feed(chunk)
            yield from lines.end()

    def logs(self, tail: int = TAIL_LINES) -> tuple[str, ...]:
        """Return the last lines it wrote."""
        with _translated(f"reading the output of {self.name}"):
            text: bytes = self._api.logs(self.name, tail=tail)
        return tuple(text.decode(errors="replace").splitlines())

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        with _translated(f"waiting for {self.name}"):
            return int(self._api.wait(self.name, timeout=None)["StatusCode"])

    def exec(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        workdir: str | None = None,
    ) -> "Exec":
        """Start a process in it; iterate over the result to run it."""
        token = secrets.token_hex(8)
        with _translated(f"starting {argv[0]} in {self.name}"):
            made = self._api.exec_create(
                self.name,
                list(argv),
                user=user or "",
                environment={**(environment or {}), _TOKEN: token},
                workdir=workdir,
            )
        return Exec(self._api, self, made["Id"], token, user or "")

    def call(self, argv: Sequence[str], **options: Any) -> RunResult:
        """Run a process in it to the end; the tail is its last lines, both streams together."""
        process = self.exec(argv, **options)
        tail = deque((line for _, line in process), maxlen=TAIL_LINES)
        return RunResult(exit_code=process.exit_code(), tail="\n".join(tail))

    def put(self, path: str, archive: bytes) -> None:
        """Unpack a tar archive into an existing directory of it."""
        with _translated(f"copying into {self.name}:{path}"):
            self._api.put_archive(self.name, path, archive)

    def get(self, path: str) -> bytes:
        """Return a file or directory of it as a tar archive."""
        with _translated(f"copying from {self.name}:{path}"):
            chunks, _ = self._api.get_archive(self.name, path)
            return b"".join(chunks)

    def kill(self) -> None:
        """Kill it; nothing when it has ended already."""
        with suppress(_Missing), _translated(f"killing {self.name}"):
            try:
                self._api.kill(self.name)
            except APIError as error:
                if error.status_code != 409:
                    raise

    def remove(self) -> None:
        """Kill and remove it, with its anonymous volumes; nothing when it is gone."""
        with suppress(_Missing), _translated(f"removing container {self.name}"):
            try:
                self._api.remove_container(self.name, force=True, v=True)
            except APIError as error:
                if error.status_code != 409:  # "removal is already in progress"
                    raise


_TOKEN: Final = "MLRUNTIME_EXEC"
# Children may leave the process group and the session, but they inherit the environment.
_KILL: Final = f"""
found=1
while [ "$found" = 1 ]; do
  found=0
  for process in /proc/[0-9]*; do
    if grep -qsz "^{_TOKEN}=$0\\$" "$process/environ"; then
      kill -KILL "${{process#/proc/}}" 2>/dev/null && found=1
    fi
  done
done
"""


class Exec:
    """A process in a container. Iterating runs it and yields ``(stream, line)``."""

    def __init__(self, api: Any, container: Container, ident: str, token: str, user: str) -> None:
        self._api = api
        self._container = container
        self._id = ident
        self._token = token
        self._user = user

    def __iter__(self) -> Iterator[tuple[Stream, str]]:
        out, err = Lines(), Lines()
        with _translated(f"running a process in {self._container.name}"):
            for number, chunk in _frames(self._api, self._id):
                if number == STDERR:
                    yield from (("stderr", line) for line in err.feed(chunk))
                else:
                    yield from (("stdout", line) for line in out.feed(chunk))
            yield from (("stdout", line) for line in out.end())
            yield from (("stderr", line) for line in err.end())

    def exit_code(self) -> int:
        """Return how it ended; 137 when its container was killed under it."""
        with _translated(f"asking how a process in {self._container.name} ended"):
            code = self._api.exec_inspect(self._id)["ExitCode"]
        return 137 if code is None else int(code)

    def kill(self) -> None:
        """Kill it and every process it started, whatever group or session they are in."""
        killer = ["/bin/sh", "-c", _KILL, self._token]
        with suppress(Unavailable), _translated(f"killing a process in {self._container.name}"):
            # The same user: root without CAP_SYS_PTRACE may not read others' environments.
            made = self._api.exec_create(self._container.name, killer, user=self._user)
            for _ in _frames(self._api, made["Id"]):
                pass


def _frames(api: Any, ident: str) -> Iterator[tuple[int, bytes]]:
    """Run an exec to its end: stream number and bytes, in pieces."""
    # The SDK's own stream would leave its socket open.
    connection = api.exec_start(ident, socket=True)
    try:
        yield from frames_iter(connection, tty=False)  # type: ignore[no-untyped-call]
    finally:
        connection._response.close()
        connection.close()


def _knock(host: str) -> None:
    """Raise ``OSError`` when nobody listens; the SDK would leave its own socket open then."""
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(host.removeprefix("unix://"))


class _Missing(Unavailable):
    """The image, container, network or volume is not there."""


def _owned(kind: Any, ident: str, name: str, found: Mapping[str, Any]) -> Owned:
    return Owned(
        kind=kind,
        id=ident,
        name=name,
        labels=dict(found.get("Labels") or {}),
        running=found.get("State") == "running",
    )


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Turn whatever the SDK raises into one of our errors, saying what was being done."""
    try:
        yield
    except (ImageNotFound, NotFound) as error:
        raise _Missing(f"the engine failed at {doing}", why=_reason(error)) from None
    except (DockerException, HTTPError, OSError) as error:  # requests' errors are OSErrors
        raise _failure(doing, _reason(error)) from None


def _failure(doing: str, why: str) -> Unavailable:
    if re.search(r"no space left on device|disk quota exceeded", why, re.IGNORECASE):
        return OutOfSpace(
            f"no space left on the engine's disk while {doing}",
            why=why,
            hint="remove images you no longer need (`docker image ls`), or give it a larger disk",
        )
    if re.search(r"connection (aborted|refused|reset)|timed out|broken pipe", why, re.IGNORECASE):
        return Unavailable(
            f"the container engine stopped answering while {doing}", why=why, hint=_START_HINT
        )
    return CommandFailed(f"the container engine failed at {doing}", why=why)


def _reason(error: BaseException) -> str:
    """Return the engine's own words, without the SDK's wrapping."""
    if isinstance(error, APIError) and error.explanation:
        text = str(error.explanation)
        with suppress(ValueError, KeyError, TypeError):
            text = str(json.loads(text)["message"])
        return text.strip()
    return str(error).strip() or type(error).__name__
