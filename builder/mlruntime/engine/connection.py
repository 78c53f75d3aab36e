"""The connection to an engine: images, containers, networks, volumes."""

import os
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import docker
from docker.errors import APIError, DockerException
from docker.utils import parse_repository_tag
from urllib3.exceptions import HTTPError

from mlruntime.engine import owner
from mlruntime.engine.container import Container
from mlruntime.engine.sdk import START_HINT, TAIL_LINES, Missing, failure, knock, reason, translated
from mlruntime.engine.values import EngineInfo, ImageInfo, Mount, Owned, RunResult, chain_ids
from mlruntime.errors import CommandFailed, Unavailable
from mlruntime.layers.gzipped import inflated

_LOAD_SECONDS: Final = 1800
_DEFAULT_HOST: Final = "unix:///var/run/docker.sock"


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
            knock(os.environ.get("DOCKER_HOST") or _DEFAULT_HOST)
            api = docker.from_env(version="auto", timeout=120).api
            slow = docker.from_env(version=api.api_version, timeout=_LOAD_SECONDS).api
        except (DockerException, OSError, HTTPError) as error:
            denied = "ermission denied" in str(error)
            raise Unavailable(
                "the container engine refuses us" if denied else "no container engine answers",
                why=reason(error),
                hint="run as root or join the `docker` group" if denied else START_HINT,
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
        with translated("asking the engine about itself"):
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
            with translated(f"looking at image {reference}"):
                found = self._api.inspect_image(reference)
        except Missing:
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
        with translated(f"listing images of {repository}"):
            images = self._api.images(name=repository)
        return tuple(sorted(tag for image in images for tag in image["RepoTags"] or ()))

    def chain_ids(self) -> frozenset[str]:
        """Return the OCI chain id of every layer stack that the engine can already build upon."""
        with translated("listing images"):
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
        with translated("loading an image"):
            for message in self._slow.load_image(iter(chunks)):
                if "error" in message:
                    raise failure("loading an image", str(message["error"]))

    def tag(self, image: str, reference: str) -> None:
        """Give an image one more name (``REPOSITORY:TAG``)."""
        repository, tag = parse_repository_tag(reference)
        with translated(f"tagging {image} as {reference}"):
            self._api.tag(image, repository, tag)

    def remove_image(self, reference: str) -> None:
        """Remove an image's name, and the image when that was its last; nothing if not there."""
        with suppress(Missing), translated(f"removing image {reference}"):
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
        gpus: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        contents: Sequence[Path] = (),
        cpu_shares: int | None = None,
        tmpfs: Sequence[str] = (),
    ) -> "Container":
        """Start a container and return at once; the caller must ``remove`` it.

        ``memory`` is a limit in bytes; ``gpus`` the UUIDs of the host's GPUs that it is to see;
        ``contents`` are layers (``Root.layers``) that are unpacked into it first;
        ``cpu_shares`` (1024 unless given) says how much of the processors it gets when others
        want them, too; ``tmpfs`` are directories that it has in memory.
        When it cannot be started, nothing is left behind.
        """
        name = name or f"mlr-{secrets.token_hex(4)}"
        owned = {**(labels or {}), **owner.current().labels(run or name), owner.ROLE: role}
        container = Container(self._api, name=name)
        with translated(f"starting container {name} from {image}"):
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
                    host_config=self._host_config(
                        mounts, network, memory, gpus, cpu_shares=cpu_shares, tmpfs=tmpfs
                    ),
                )
                for layer in contents:
                    if self._aborted.is_set():
                        raise CommandFailed(f"{name} was interrupted")
                    with layer.open("rb") as file:
                        container.put("/", inflated(file))
                self._api.start(name)
            except BaseException as error:
                # "in use" means that the name is somebody else's container: leave that alone.
                if not (isinstance(error, APIError) and error.status_code == 409):
                    container.remove()
                raise
        return container

    def _host_config(
        self,
        mounts: Sequence[Mount],
        network: str,
        memory: int | None,
        gpus: Sequence[str],
        *,
        cpu_shares: int | None,
        tmpfs: Sequence[str],
    ) -> Any:
        asked = [docker.types.DeviceRequest(device_ids=list(gpus), capabilities=[["gpu"]])]
        return self._api.create_host_config(
            device_requests=asked if gpus else None,
            network_mode=network,
            cpu_shares=cpu_shares,
            tmpfs=dict.fromkeys(tmpfs, ""),
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
        with translated(f"creating network {name}"):
            self._api.create_network(name, driver="bridge", internal=True, labels=labels)

    def create_volume(self, name: str, *, run: str) -> None:
        """Create a named volume."""
        with translated(f"creating volume {name}"):
            self._api.create_volume(name, labels=owner.current().labels(run))

    # what we own

    def owned(self, labels: Mapping[str, str] | None = None) -> tuple[Owned, ...]:
        """Return what runs of this tool made and is still there: containers, networks, volumes.

        ``labels`` narrows it: only what has all of them.
        """
        wanted = [f"{key}={value}" for key, value in {owner.MARK: "1", **(labels or {})}.items()]
        filters = {"label": wanted}
        with translated("listing containers"):
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
            with suppress(Missing), translated(f"removing {thing.kind} {thing.name}"):
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


def _owned(kind: Any, ident: str, name: str, found: Mapping[str, Any]) -> Owned:
    return Owned(
        kind=kind,
        id=ident,
        name=name,
        labels=dict(found.get("Labels") or {}),
        running=found.get("State") == "running",
    )
