"""What the engine tells of images and containers: plain values, without the engine. Core."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Stream = Literal["stdout", "stderr"]
# How an engine keeps images. Docker's classic store and Podman know an image by its configuration,
# containerd's by its manifest.
ImageStore = Literal["classic", "containerd", "podman"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A named volume seen in a container; or (``kind="bind"``) a directory of the engine's host.

    A volume without a ``source`` is the container's own, and goes with it.
    """

    source: str
    target: str
    read_only: bool = False
    kind: Literal["bind", "volume"] = "volume"


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """How a container runs that outlives the process which starts it.

    It is confined: a root that cannot be written to, no capabilities, none to be had; what it
    writes goes to ``mounts``. ``restart``: the engine starts it again whenever it ends. ``cpus`` is
    a limit. ``ports`` are those of the container that the engine's host publishes on 127.0.0.1,
    with the port there (0: any that is free).
    """

    restart: bool = False
    cpus: float | None = None
    ports: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInfo:
    """What the engine knows of an image; ``size`` in bytes, unpacked.

    ``architecture`` as in Go and OCI (``amd64``); empty where that is not known.
    """

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    size: int
    user: str
    environment: tuple[str, ...]
    diff_ids: tuple[str, ...]
    architecture: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineInfo:
    """The engine and the host it runs on; ``memory`` in bytes.

    ``endpoint`` says where it was found and which setting named it; ``root`` is the directory
    where it keeps images, on its own host, and ``driver`` what it keeps layers with. ``unlimited``
    are the resources of which it cannot limit a container: a rootless engine may lack cgroups.
    ``architecture`` is its host's, spelled as an image's.
    """

    version: str
    api: str
    kernel: str
    cpus: int
    memory: int
    product: str = "Docker Engine"
    store: ImageStore = "classic"
    rootless: bool = False
    remote: bool = False
    root: str = ""
    driver: str = ""
    unlimited: tuple[str, ...] = ()
    endpoint: str = ""
    architecture: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """How a container ended, with the last lines it wrote."""

    exit_code: int
    tail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Whether a container runs; ``exit_code`` and ``oom_killed`` once it does not.

    ``restarts`` says how often the engine has started it again.
    """

    running: bool
    exit_code: int
    oom_killed: bool
    error: str
    restarts: int = 0

    def __str__(self) -> str:
        if self.running:
            return "is running"
        why = " (out of memory)" if self.oom_killed else f" ({self.error})" if self.error else ""
        return f"exited with {self.exit_code}{why}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Owned:
    """One thing that some run of this tool made in the engine."""

    kind: Literal["container", "network", "volume"]
    id: str
    name: str
    labels: Mapping[str, str]
    running: bool = False


class LineDecoder:
    """Bytes in any pieces to lines of text, carriage returns counting as line ends."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Take in more bytes; return the lines they complete."""
        *whole, self._rest = re.split(rb"\r\n|\n|\r(?!$)", self._rest + chunk)
        return (line.decode(errors="replace") for line in whole)

    def end(self) -> Iterator[str]:
        """Return the last line when it has no line end."""
        rest, self._rest = self._rest.rstrip(b"\r"), b""
        return iter([rest.decode(errors="replace")] if rest else [])


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """Return the OCI chain id of each prefix of a layer stack (``diff_ids`` bottom first)."""
    chains: list[str] = []
    for diff_id in diff_ids:
        joined = f"{chains[-1]} {diff_id}" if chains else None
        chains.append(
            "sha256:" + hashlib.sha256(joined.encode()).hexdigest() if joined else diff_id
        )
    return tuple(chains)
