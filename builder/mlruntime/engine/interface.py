"""What the product needs of a container engine. Nothing here supposes that it is on this host.

Files go into containers and come out of them as tar archives; a container sees a
directory of the engine's host only where a user's cluster description names it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from mlruntime.engine.values import (
    EngineInfo,
    ImageInfo,
    ImageStore,
    Mount,
    Owned,
    RunResult,
    Service,
    State,
    Stream,
)


class Exec(Protocol):
    """A process in a container. Iterating runs it and yields ``(stream, line)``."""

    def __iter__(self) -> Iterator[tuple[Stream, str]]: ...

    def exit_code(self) -> int:
        """Return how it ended; 137 when its container was killed under it."""
        ...

    def kill(self) -> None:
        """Kill it and every process it started, whatever group or session they are in."""
        ...


class Container(Protocol):
    """A container of ours, by name."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def state(self) -> State:
        """Return whether it runs and how it ended; a removed one counts as killed."""
        ...

    def image_id(self) -> str:
        """Return the id of the image it was made from."""
        ...

    def address(self, port: int) -> str | None:
        """Return ``HOST:PORT`` where the engine's host publishes a port of it, if it does."""
        ...

    def follow(self, stream: Stream | None = None) -> Iterator[str]:
        """Yield its output, one stream or both together, line by line until it ends."""
        ...

    def logs(self, tail: int = ...) -> tuple[str, ...]:
        """Return the last lines it wrote."""
        ...

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        ...

    def exec(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        workdir: str | None = None,
    ) -> Exec:
        """Start a process in it; iterate over the result to run it."""
        ...

    def call(self, argv: Sequence[str], *, user: str | None = None) -> RunResult:
        """Run a process in it to the end; the tail is its last lines, both streams together."""
        ...

    def interact(self, argv: Sequence[str], keyboard: int, screen: int) -> int:
        """Run a process in it on the terminal with these descriptors; return its exit code."""
        ...

    def put(self, path: str, archive: bytes | Iterator[bytes]) -> None:
        """Unpack a tar archive into an existing directory of it, also before it runs."""
        ...

    def get(self, path: str) -> Iterator[bytes]:
        """Yield a file or directory of it as a tar archive, also when it has ended."""
        ...

    def kill(self) -> None:
        """Kill it; nothing when it has ended already."""
        ...

    def start_again(self) -> None:
        """Start it again, with all that it has written, when it has ended; else nothing."""
        ...

    def remove(self) -> None:
        """Kill and remove it, with its anonymous volumes; nothing when it is gone."""
        ...


class Images(Protocol):
    """The images of an engine."""

    @property
    def store(self) -> ImageStore:
        """How it keeps images, and so what it knows one by."""
        ...

    def image(self, reference: str) -> ImageInfo | None:
        """Return what is known of an image (a tag or an id), or ``None`` when it is not there."""
        ...

    def chain_ids(self) -> frozenset[str]:
        """Return the OCI chain id of every layer stack that an archive may leave out."""
        ...

    def load(self, chunks: Iterable[bytes]) -> None:
        """Take an image archive, streamed."""
        ...

    def tag(self, image: str, reference: str) -> None:
        """Give an image one more name (``REPOSITORY:TAG``)."""
        ...


class Starts(Protocol):
    """What can start containers."""

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
        contents: Sequence[Callable[[], Iterator[bytes]]] = (),
        files: Mapping[str, Callable[[], Iterator[bytes]]] | None = None,
        cpu_shares: int | None = None,
        tmpfs: Sequence[str] = (),
        service: Service | None = None,
    ) -> Container:
        """Start a container and return at once; the caller must ``remove`` it.

        ``memory`` is a limit in bytes; ``gpus`` the UUIDs of the host's GPUs that it is to see;
        ``contents`` are tar archives that are unpacked at its root first, in this order; ``files``
        those that are unpacked in a directory, which may be a mount; each is asked for when the
        container exists;
        ``cpu_shares`` (1024 unless given) says how much of the processors it gets when others
        want them, too; ``tmpfs`` are directories that it has in memory. It is given no proxies.
        With a ``service`` it is to outlive this process; see ``sweep``.
        When it cannot be started, nothing is left behind.
        """
        ...


class Runs(Protocol):
    """What can run a container to its end."""

    def run(
        self,
        image: str,
        command: Sequence[str],
        *,
        on_line: Callable[[str], None] | None = None,
        on_start: Callable[[Container], None] | None = None,
        on_end: Callable[[Container], None] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> RunResult:
        """Run a container to its end and remove it, whatever happens; options as for ``start``.

        ``on_start`` gets the container, ``on_line`` each line as it is written, ``on_end`` the
        container again once it has ended with 0, before it is removed. After ``timeout`` seconds
        it is killed and ``CommandFailed`` raised.
        """
        ...


class Engine(Images, Starts, Runs, Protocol):
    """A connection to one engine. Safe to use from several threads."""

    def info(self) -> EngineInfo:
        """Return what the engine is, and its host's size."""
        ...

    def image_config(self, reference: str) -> ImageInfo:
        """Return what is known of an image; ``Unavailable`` when the engine does not have it."""
        ...

    def tags(self, repository: str) -> tuple[str, ...]:
        """Return the references (``REPOSITORY:TAG``) of a repository's images, sorted."""
        ...

    def remove_image(self, reference: str) -> None:
        """Remove an image's name, and the image when that was its last; nothing if not there."""
        ...

    def create_network(
        self,
        name: str,
        *,
        run: str,
        internal: bool = True,
        stays: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Create a private network: its containers reach each other by name, and nothing else.

        What is not ``internal`` reaches the outside, too, and may publish ports; ``stays`` as for
        a container with a ``service``.
        """
        ...

    def create_volume(
        self,
        name: str,
        *,
        run: str,
        stays: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Create a named volume."""
        ...

    def container(self, name: str) -> Container:
        """Return a container by its name or id, which is not looked up yet."""
        ...

    def owned(self, labels: Mapping[str, str] | None = None) -> tuple[Owned, ...]:
        """Return what runs of this tool made and is still there: containers, networks, volumes."""
        ...

    def remove(self, things: Iterable[Owned]) -> None:
        """Remove containers (killing them), then networks and volumes; what is gone is no error."""
        ...

    def sweep(self) -> tuple[Owned, ...]:
        """Remove, and return, what processes of this host left that are no longer there.

        What has the label ``owner.KEPT`` stays, and so does all of a run in which anything has it.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


__all__ = ["Container", "Engine", "Exec", "Images", "Mount", "Runs", "Starts"]
