"""One engine that speaks Docker's API: images, containers, networks, volumes."""

import logging
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

from docker.errors import APIError
from docker.utils import parse_repository_tag

from mlruntime.engine import owner
from mlruntime.engine.docker.container import DockerContainer
from mlruntime.engine.docker.endpoint import Endpoint
from mlruntime.engine.docker.options import NO_PROXY, host_config, labels_of
from mlruntime.engine.docker.sdk import (
    Missing,
    failure,
    fill_volumes,
    libpod_version,
    translated,
)
from mlruntime.engine.running import Archive, Running
from mlruntime.engine.values import (
    EngineInfo,
    ImageInfo,
    ImageStore,
    Mount,
    Owned,
    Service,
    chain_ids,
)
from mlruntime.errors import Unavailable

_LOG: Final = logging.getLogger(__name__)

# By what an engine says of itself: of which resources it can limit a container.
_LIMITS: Final = (("MemoryLimit", "memory"), ("CpuCfsQuota", "CPU time"))
# What Docker and Podman put before a name that has no registry; users and we leave it out.
_IMPLIED: Final = re.compile(r"^(docker\.io|localhost)/")


class DockerEngine:
    """A connection to one engine that speaks Docker's API. Safe to use from several threads."""

    def __init__(self, api: Any, slow: Any, endpoint: Endpoint | None = None) -> None:
        self._api = api
        self._slow = slow
        self._endpoint = endpoint
        self.run = Running(self._myself).run

    def _myself(self) -> "DockerEngine":
        return self

    def close(self) -> None:
        """Close the connection."""
        self._api.close()
        self._slow.close()

    def __enter__(self) -> "DockerEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def info(self) -> EngineInfo:
        """Return what the engine is, and its host's size."""
        with translated("asking the engine about itself"):
            info, version = self._api.info(), self._api.version()
        options = " ".join(info.get("SecurityOptions") or ())
        return EngineInfo(
            product=_product(version),
            version=version["Version"],
            api=version["ApiVersion"],
            kernel=info["KernelVersion"],
            cpus=info["NCPU"],
            memory=info["MemTotal"],
            store=self.store,
            rootless="rootless" in options,
            root=info.get("DockerRootDir") or "",
            driver=info.get("Driver") or "",
            unlimited=tuple(name for key, name in _LIMITS if info.get(key) is False),
            endpoint=str(self._endpoint or ""),
            remote=self._endpoint is not None and self._endpoint.remote,
            architecture=version.get("Arch") or "",
        )

    @cached_property
    def store(self) -> ImageStore:
        """Return how it keeps images."""
        with translated("asking the engine about itself"):
            if _product(self._api.version()).startswith("Podman"):
                return "podman"
            status = self._api.info().get("DriverStatus") or ()
        drivers = {value for _, value in status}
        return "containerd" if "io.containerd.snapshotter.v1" in drivers else "classic"

    @cached_property
    def _libpod(self) -> str | None:
        """Return the version of Podman's own API, if the engine has that beside Docker's."""
        with translated("asking the engine about itself"):
            return libpod_version(self._api)

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
            tags=tuple(_IMPLIED.sub("", tag) for tag in found.get("RepoTags") or ()),
            labels=dict(config.get("Labels") or {}),
            size=found["Size"],
            user=config.get("User") or "",
            environment=tuple(config.get("Env") or ()),
            diff_ids=tuple((found.get("RootFS") or {}).get("Layers") or ()),
            architecture=found.get("Architecture") or "",
        )

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
        tags = (tag for image in images for tag in image["RepoTags"] or ())
        return tuple(sorted(_IMPLIED.sub("", tag) for tag in tags))

    def chain_ids(self) -> frozenset[str]:
        """Return the OCI chain id of every layer stack that an archive may leave out.

        Only Docker's classic store takes an archive that lacks layers.
        """
        if self.store != "classic":
            return frozenset()
        with translated("listing images"):
            ids = {image["Id"] for image in self._api.images(all=True)}
        chains: set[str] = set()
        for image in ids:
            found = self.image(image)
            chains.update(chain_ids(found.diff_ids) if found else ())
        return frozenset(chains)

    def load(self, chunks: Iterable[bytes]) -> None:
        """Take an image archive, streamed: ``docker save``'s form, or a packed OCI layout.

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
        contents: Sequence[Archive] = (),
        files: Mapping[str, Archive] | None = None,
        cpu_shares: int | None = None,
        tmpfs: Sequence[str] = (),
        service: Service | None = None,
    ) -> DockerContainer:
        """Start a container and return at once; see ``interface.Starts``."""
        name = name or f"mlr-{secrets.token_hex(4)}"
        owned = labels_of(run or name, labels, stays=service is not None) | {owner.ROLE: role}
        container = DockerContainer(self._api, name=name)
        with translated(f"starting container {name} from {image}"):
            try:
                self._api.create_container(
                    image,
                    list(command),
                    name=name,
                    hostname=hostname,
                    entrypoint=list(entrypoint) if entrypoint is not None else None,
                    environment={**NO_PROXY, **(environment or {})},
                    use_config_proxy=False,
                    user=user,
                    working_dir=workdir,
                    labels=owned,
                    ports=sorted(service.ports) if service else None,
                    host_config=host_config(
                        self._api,
                        mounts,
                        network,
                        memory,
                        gpus,
                        cpu_shares=cpu_shares,
                        tmpfs=tmpfs,
                        service=service,
                    ),
                )
                if mounts and self._libpod:
                    fill_volumes(self._api, self._libpod, name)
                for archive in contents:
                    container.put("/", archive())
                for directory, archive in (files or {}).items():
                    container.put(directory, archive())
                self._api.start(name)
                _LOG.info("started container %s from %s", name, image)
            except BaseException as error:
                # "in use" means that another container has this name: do not touch it.
                if not (isinstance(error, APIError) and error.status_code == 409):
                    container.remove()
                raise
        return container

    # networks and volumes

    def create_network(
        self,
        name: str,
        *,
        run: str,
        internal: bool = True,
        stays: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Create a private bridge network; see ``interface.Engine``."""
        owned = labels_of(run, labels, stays=stays)
        with translated(f"creating network {name}"):
            self._api.create_network(name, driver="bridge", internal=internal, labels=owned)

    def create_volume(
        self,
        name: str,
        *,
        run: str,
        stays: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Create a named volume."""
        owned = labels_of(run, labels, stays=stays)
        with translated(f"creating volume {name}"):
            self._api.create_volume(name, labels=owned)

    # what we own

    def container(self, name: str) -> DockerContainer:
        """Return a container by its name or id, which is not looked up yet."""
        return DockerContainer(self._api, name=name)

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
            _LOG.info("removing %s %s", thing.kind, thing.name)
            with suppress(Missing), translated(f"removing {thing.kind} {thing.name}"):
                if thing.kind == "container":
                    DockerContainer(self._api, name=thing.id).remove()
                elif thing.kind == "network":
                    self._api.remove_network(thing.id)
                else:
                    self._api.remove_volume(thing.id, force=True)

    def sweep(self) -> tuple[Owned, ...]:
        """Remove, and return, what processes of this host left that are no longer there."""
        things = self.owned()
        kept = owner.kept_runs(thing.labels for thing in things)
        left = tuple(
            thing
            for thing in things
            if thing.labels.get(owner.RUN) not in kept and owner.abandoned(thing.labels)
        )
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


def _product(version: Mapping[str, Any]) -> str:
    """Return who made the engine, from its answer about its version."""
    parts = [part.get("Name", "") for part in version.get("Components") or ()]
    return "Podman" if "Podman Engine" in parts else "Docker Engine"
