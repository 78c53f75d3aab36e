"""A container, and processes in it."""

import secrets
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from docker.errors import APIError
from docker.utils.socket import STDERR, frames_iter

from mlruntime.engine.docker import terminal
from mlruntime.engine.docker.sdk import Missing, translated
from mlruntime.engine.processes import KILL, TOKEN
from mlruntime.engine.running import TAIL_LINES
from mlruntime.engine.values import LineDecoder, RunResult, State, Stream
from mlruntime.errors import Unavailable

# Of a process whose output has ended: until the engine says how it ended, at most.
_NOTED_SECONDS: Final = 5.0
# What a shell makes of SIGKILL, which is how a container's processes end with it.
_KILLED: Final = 137


class DockerContainer:
    """A container of ours, by name."""

    def __init__(self, api: Any, *, name: str) -> None:
        self._api = api
        self.name = name

    def state(self) -> State:
        """Return whether it runs and how it ended; a removed one counts as killed."""
        try:
            found = self.inspect()
        except Missing:
            return State(running=False, exit_code=_KILLED, oom_killed=False, error="it was removed")
        state = found["State"]
        return State(
            running=bool(state["Running"]) and not state.get("Restarting"),
            exit_code=int(state["ExitCode"]),
            oom_killed=bool(state["OOMKilled"]),
            error=str(state.get("Error") or ""),
            restarts=int(found.get("RestartCount") or 0),
        )

    def image_id(self) -> str:
        """Return the id of the image it was made from."""
        return str(self.inspect()["Image"])

    def inspect(self) -> dict[str, Any]:
        """Return all that Docker knows of it."""
        with translated(f"looking at container {self.name}"):
            found: dict[str, Any] = self._api.inspect_container(self.name)
            return found

    def address(self, port: int) -> str | None:
        """Return ``HOST:PORT`` where the engine's host publishes a port of it, if it does."""
        ports = self.inspect()["NetworkSettings"].get("Ports") or {}
        found = ports.get(f"{port}/tcp")
        return f"{found[0]['HostIp']}:{found[0]['HostPort']}" if found else None

    def follow(self, stream: Stream | None = None) -> Iterator[str]:
        """Yield its output, one stream or both together, line by line until it ends."""
        only = {} if stream is None else {s: s == stream for s in ("stdout", "stderr")}
        with translated(f"reading the output of {self.name}"):
            lines = LineDecoder()
            for chunk in self._api.logs(self.name, stream=True, follow=True, **only):
                yield from lines.feed(chunk)
            yield from lines.end()

    def logs(self, tail: int = TAIL_LINES) -> tuple[str, ...]:
        """Return the last lines it wrote."""
        with translated(f"reading the output of {self.name}"):
            text: bytes = self._api.logs(self.name, tail=tail)
        return tuple(text.decode(errors="replace").splitlines())

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        with translated(f"waiting for {self.name}"):
            return int(self._api.wait(self.name, timeout=None)["StatusCode"])

    def exec(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        workdir: str | None = None,
    ) -> "DockerExec":
        """Start a process in it; iterate over the result to run it."""
        token = secrets.token_hex(8)
        with translated(f"starting {argv[0]} in {self.name}"):
            made = self._api.exec_create(
                self.name,
                list(argv),
                user=user or "",
                environment={**(environment or {}), TOKEN: token},
                workdir=workdir,
            )
        return DockerExec(self._api, self, made["Id"], token, user or "")

    def call(self, argv: Sequence[str], *, user: str | None = None) -> RunResult:
        """Run a process in it to the end; the tail is its last lines, both streams together."""
        process = self.exec(argv, user=user)
        tail = deque((line for _, line in process), maxlen=TAIL_LINES)
        return RunResult(exit_code=process.exit_code(), tail="\n".join(tail))

    def interact(self, argv: Sequence[str], keyboard: int, screen: int) -> int:
        """Run a process in it on the terminal with these descriptors; return its exit code.

        137 when the container was killed under it.
        """
        with translated(f"running {argv[0]} in {self.name}"):
            made = self._api.exec_create(self.name, list(argv), tty=True, stdin=True)
            ident = made["Id"]
            connection = self._api.exec_start(ident, tty=True, socket=True)
            try:
                terminal.interact(
                    connection,
                    keyboard,
                    screen,
                    lambda rows, columns: self._api.exec_resize(ident, rows, columns),
                )
            finally:
                connection._response.close()
                connection.close()
        return self.ended(ident)

    def ended(self, ident: str) -> int:
        """Return how a process in it ended; 137 when the container was killed under it."""
        deadline = time.monotonic() + _NOTED_SECONDS
        with suppress(Missing), translated(f"asking how a process in {self.name} ended"):
            # An engine that is busy notes the end of a process some time after that of its output.
            while (found := self._api.exec_inspect(ident))["Running"]:
                if time.monotonic() > deadline or not self.state().running:
                    return _KILLED
                time.sleep(0.05)
            if found["ExitCode"] is not None:
                return int(found["ExitCode"])
        return _KILLED

    def put(self, path: str, archive: bytes | Iterator[bytes]) -> None:
        """Unpack a tar archive into an existing directory of it, also before it runs."""
        with translated(f"copying into {self.name}:{path}"):
            self._api.put_archive(self.name, path, archive)

    def get(self, path: str) -> Iterator[bytes]:
        """Yield a file or directory of it as a tar archive, also when it has ended."""
        with translated(f"copying from {self.name}:{path}"):
            chunks, _ = self._api.get_archive(self.name, path)
            yield from chunks

    def kill(self) -> None:
        """Kill it; nothing when it has ended already."""
        with suppress(Missing), translated(f"killing {self.name}"):
            try:
                self._api.kill(self.name)
            except APIError as error:
                if error.status_code != 409:
                    raise

    def start_again(self) -> None:
        """Start it again, with all that it has written, when it has ended; else nothing."""
        with translated(f"starting {self.name}"):
            self._api.start(self.name)

    def remove(self) -> None:
        """Kill and remove it, with its anonymous volumes; nothing when it is gone."""
        with suppress(Missing), translated(f"removing container {self.name}"):
            try:
                self._api.remove_container(self.name, force=True, v=True)
            except APIError as error:
                if error.status_code != 409:  # "removal is already in progress"
                    raise


class DockerExec:
    """A process in a container. Iterating runs it and yields ``(stream, line)``."""

    def __init__(
        self, api: Any, container: DockerContainer, ident: str, token: str, user: str
    ) -> None:
        self._api = api
        self._container = container
        self._id = ident
        self._token = token
        self._user = user

    def __iter__(self) -> Iterator[tuple[Stream, str]]:
        out, err = LineDecoder(), LineDecoder()
        with translated(f"running a process in {self._container.name}"):
            for number, chunk in _frames(self._api, self._id):
                if number == STDERR:
                    yield from (("stderr", line) for line in err.feed(chunk))
                else:
                    yield from (("stdout", line) for line in out.feed(chunk))
            yield from (("stdout", line) for line in out.end())
            yield from (("stderr", line) for line in err.end())

    def exit_code(self) -> int:
        """Return how it ended; 137 when its container was killed under it."""
        return self._container.ended(self._id)

    def kill(self) -> None:
        """Kill it and every process it started, whatever group or session they are in."""
        killer = ["/bin/sh", "-c", KILL, self._token]
        with suppress(Unavailable), translated(f"killing a process in {self._container.name}"):
            # Run as the same user: root without CAP_SYS_PTRACE cannot read others' environments.
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
