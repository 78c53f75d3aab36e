"""The driver's end of one attempt: one port, on which tasks report and ranks find each other."""

import contextlib
import json
import queue
import secrets
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from sparkdl import _network, _wire
from sparkdl._errors import Failure
from sparkdl._rendezvous import KeyStore
from sparkdl._standing import Standing
from sparkdl._wire import Channel, Kind

BEAT_SECONDS = 1.0


class Listener(Protocol):
    """What becomes of what ranks say; called from the connections' own threads."""

    def output(self, rank: int, data: bytes) -> None:
        """Take what a rank wrote to its stdout or stderr."""

    def timeline(self, data: bytes) -> None:
        """Take a part of Horovod's timeline."""

    def message(self, rank: int, text: str) -> None:
        """Take what a rank gave to ``log_to_driver``."""

    def metrics(self, rank: int, metrics: Mapping[str, Any]) -> None:
        """Take what a ``LogCallback`` reported."""

    def save(self, data: bytes) -> None:
        """Keep a checkpoint; it is safe once this returns."""

    def load(self) -> bytes:
        """Return the checkpoint that this attempt starts from, empty when there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Invitation:
    """What a task needs to join an attempt. It holds the secret: it travels only by Spark."""

    host: str
    port: int
    secret: bytes = field(repr=False)
    token: str = field(repr=False)
    rank_timeout: float


@dataclass(kw_only=True, slots=True, eq=False)
class Member:
    """One task that has joined."""

    partition: int
    about: Mapping[str, Any]
    channel: Channel
    rank: int = -1
    state: str = "R"
    stopped: float | None = None
    result: bytes = b""
    standing: Standing = field(default_factory=Standing)
    over: Mapping[str, Any] | None = None
    gone: bool = False

    @property
    def host(self) -> str:
        """Return the name of the task's host."""
        return str(self.about["host"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """A task has proven that it belongs here."""

    member: Member


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """``main`` raised on a rank."""

    member: Member
    failure: Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """A rank says which weights its model has."""

    member: Member
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Over:
    """A rank's process has ended, or (``member.gone``) its task is no longer there to tell."""

    member: Member


Event = Joined | Failed | Weights | Over


class Control:
    """Listens for the tasks of one attempt, for the length of a ``with`` block."""

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        host: str,
        port: int,
        rank_timeout: float,
        listener: Listener,
    ) -> None:
        self._server = _listen(addresses, port)
        self.invitation = Invitation(
            host=host,
            port=self._server.getsockname()[1],
            secret=secrets.token_bytes(32),
            token=secrets.token_urlsafe(24),
            rank_timeout=rank_timeout,
        )
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.members: dict[int, Member] = {}
        self._listener = listener
        self._store = KeyStore(self.invitation.token)
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._connections: set[socket.socket] = set()
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        for target in (self._accept, self._beat):
            self._start(target)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        # Wakes the thread that waits in accept(), which closing alone does not.
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            connections, threads = list(self._connections), list(self._threads)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()

    @property
    def initialised(self) -> bool:
        """Return whether ``hvd.init()`` has been called on any rank."""
        return self._store.asked

    def tell(self, member: Member, kind: bytes, body: bytes = b"") -> None:
        """Send to a member; one that is gone has its own event, so nothing is raised."""
        with contextlib.suppress(_wire.Closed):
            member.channel.send(kind, body)

    def stop(self) -> None:
        """Ask every member to end its rank, which hanging up does too; wait for none of them."""
        for member in list(self.members.values()):
            if member.over is None and not member.gone:
                member.channel.send_or_shut(Kind.STOP)

    def _start(self, target: Any, *words: Any) -> None:
        thread = threading.Thread(target=target, args=words, name="sparkdl-control", daemon=True)
        with self._lock:
            self._threads = {one for one in self._threads if one.is_alive() or one.ident is None}
            self._threads.add(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(_wire.HANDSHAKE_SECONDS)
            first = connection.recv(len(_wire.MAGIC), socket.MSG_PEEK)
            if first == _wire.MAGIC:
                self._converse(_wire.answer(connection, self.invitation.secret), connection)
            elif first:
                self._store.serve(connection)
        except (OSError, ValueError):
            pass  # whoever it was: a member's end has been told by then
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _converse(self, channel: Channel, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        frame = channel.receive()
        if frame.kind != Kind.HELLO:
            return
        about = json.loads(frame.body)
        member = Member(partition=int(about["partition"]), about=about, channel=channel)
        self.members[member.partition] = member
        self.events.put(Joined(member=member))
        try:
            while member.over is None:
                frame = channel.receive()
                self._take(member, frame.kind, frame.body)
        except (OSError, ValueError):
            member.gone = True
        self.events.put(Over(member=member))

    def _take(self, member: Member, kind: bytes, body: bytes) -> None:
        listener = self._listener
        if kind == Kind.BEAT:
            _note_state(member, body.decode())
        elif kind == Kind.OUTPUT:
            listener.output(member.rank, body)
        elif kind == Kind.TIMELINE:
            listener.timeline(body)
        elif kind == Kind.MESSAGE:
            listener.message(member.rank, body.decode(errors="replace"))
        elif kind == Kind.METRICS:
            listener.metrics(member.rank, json.loads(body))
        elif kind == Kind.STANDING:
            member.standing = Standing.from_dict(json.loads(body))
        elif kind == Kind.RESULT:
            member.result = body
        elif kind == Kind.WEIGHTS:
            self.events.put(Weights(member=member, data=body))
        elif kind == Kind.SAVE:
            try:
                listener.save(body)
                answer = b""
            except OSError as error:
                answer = str(error).encode()
            member.channel.send(Kind.SAVED, answer)
        elif kind == Kind.LOAD:
            member.channel.send(Kind.CHECKPOINT, listener.load())
        elif kind == Kind.FAILED:
            self.events.put(Failed(member=member, failure=Failure.from_json(body)))
            member.channel.send(Kind.HEARD)
        elif kind == Kind.OVER:
            member.over = json.loads(body)

    def _beat(self) -> None:
        while not self._closing.wait(BEAT_SECONDS):
            for member in list(self.members.values()):
                if member.over is None and not member.gone:
                    with contextlib.suppress(_wire.Closed):
                        member.channel.beat()


def _note_state(member: Member, state: str) -> None:
    member.state = state
    if state not in "Tt":
        member.stopped = None
    elif member.stopped is None:
        member.stopped = time.monotonic()


def _listen(addresses: Sequence[str], port: int) -> socket.socket:
    """Listen on the first of ``addresses`` that belongs to this machine."""
    trouble: list[str] = []
    for address in addresses:
        try:
            return _network.listen(address, port)
        except OSError as error:
            trouble.append(f"{address}: {error.strerror or error}")
    raise OSError(
        f"the driver cannot listen on port {port or 'any'} of {'; '.join(trouble)}. Set "
        "spark.driver.bindAddress to the address of this machine that executors reach (0.0.0.0: "
        "all of them), and with options(driver_port=…) another port."
    )
