"""A task's part in a run: it joins, has its rank made, passes on what that says, and ends it.

The rank runs in a process of its own, so this one can say how it ended, whatever happened, and
end it, whatever it is doing.
"""

import contextlib
import json
import os
import queue
import select
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparkdl import _process, _rank, _wire
from sparkdl._control import BEAT_SECONDS, Invitation
from sparkdl._errors import Failure
from sparkdl._network import address_of, choose_interface, is_ipv6, resolves
from sparkdl._process import RankProcess
from sparkdl._ranks import Placement
from sparkdl._relay import Relay
from sparkdl._rendezvous import address as rendezvous_address
from sparkdl._wire import Channel, Kind

_DRAIN_SECONDS = 2.0
# Python writes line by line: a moment's wait makes one frame of many lines.
_LITTLE, _GATHER_SECONDS = 1 << 16, 0.005
# A driver may be busy for longer than a rank may be silent.
_DRIVER_PATIENCE = 2.0
_UP = frozenset(
    (
        *(Kind.MESSAGE, Kind.METRICS, Kind.STANDING, Kind.WEIGHTS),
        *(Kind.SAVE, Kind.LOAD, Kind.FAILED),
    )
)
_DOWN = frozenset({Kind.SAVED, Kind.CHECKPOINT, Kind.HEARD})


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """What a task has to offer: where it is, and what Spark gave it.

    ``owners`` are the processes whose end is to end all that was started here; ``executor`` is
    Spark's name for where this is, empty when it is unknown.
    """

    partition: int
    host: str
    cores: int
    gpus: tuple[str, ...]
    owners: tuple[int, ...]
    stage: int = -1
    executor: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """The options that a task has to know before it hears from the driver."""

    interface: str | None
    threads: int | None
    environment: Mapping[str, str]
    preload: tuple[str, ...]
    keep_warm: float
    import_timeout: float
    # Bytes: a larger result of rank 0 goes to the driver on its own connection. None: none does.
    result_limit: int | None = None


def attend(invitation: Invitation, seat: Seat, terms: Terms, payload: bytes) -> bytes | None:
    """Take part in the run; return rank 0's pickled result, or ``None`` for everything else.

    It is empty when it has gone to the driver on the connection.

    How the rank ended is told to the driver by then, so nothing is raised for it.
    """
    address = address_of(invitation.host)
    try:
        control = _wire.call((address, invitation.port), invitation.secret)
    except OSError as error:
        raise ConnectionError(
            f"this executor ({socket.gethostname()}) does not reach the driver at "
            f"{invitation.host}:{invitation.port} ({error}). Executors must be able to connect "
            "to the driver: see spark.driver.host, and options(driver_port=…) for firewalls"
        ) from None
    about = {
        "partition": seat.partition,
        "host": seat.host,
        "hostname": socket.gethostname(),
        "resolves": resolves(socket.gethostname()),
        "gpus": list(seat.gpus),
        "stage": seat.stage,
        "executor": seat.executor,
    }
    attendant = _Attendant(
        control=control, invitation=invitation, seat=seat, terms=terms, address=address
    )
    try:
        control.send(Kind.HELLO, json.dumps(about).encode())
        return attendant.run(payload)
    except _wire.Closed:
        return None  # the driver is gone, or has ended this attempt
    finally:
        control.close()


class _Attendant:
    def __init__(
        self,
        *,
        control: Channel,
        invitation: Invitation,
        seat: Seat,
        terms: Terms,
        address: str,
    ) -> None:
        self.control, self.invitation, self.seat, self.terms = control, invitation, seat, terms
        self.address = address
        self.process: RankProcess | None = None
        self.relay: Relay | None = None
        self.placement: Placement | None = None
        self.result: bytes | None = None
        self.done = threading.Event()
        self.stopped = threading.Event()
        self.go: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def run(self, payload: bytes) -> bytes | None:
        listening = self._thread(self._listen)
        beating = self._thread(self._beat)
        try:
            environ = {**os.environ, **self._threads(), **self.terms.environment}
            self.process = _process.start(
                environ=environ,
                preload=list(self.terms.preload),
                owners=list(self.seat.owners),
                keep_warm=self.terms.keep_warm,
                import_timeout=self.terms.import_timeout,
            )
            # Told to stop while there was nothing to kill yet.
            place = None if self.stopped.is_set() else self.go.get()
            if place is None:
                return None
            self._follow(place, payload)
        except _wire.Closed:
            raise
        except Exception as error:
            self._fail(error)
        finally:
            self.done.set()
            beating.join()
            self._await_hang_up(listening)
            if self.process is not None:
                self.process.close()
            if self.relay is not None:
                self.relay.close()
            self.control.shut()
            listening.join()
        return self.result

    def _await_hang_up(self, listening: threading.Thread) -> None:
        """Let the driver be the one who closes the connection, once it has read everything.

        What it has not read yet would be lost with a connection that is closed on this side. A
        driver that has said stop reads no more.
        """
        while listening.is_alive() and not self.stopped.is_set() and not self._driver_is_silent():
            listening.join(BEAT_SECONDS)

    def _driver_is_silent(self) -> bool:
        patience = self.invitation.rank_timeout * _DRIVER_PATIENCE
        return time.monotonic() - self.control.heard > patience

    def _thread(self, target: Any, *words: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=words, name="sparkdl-task", daemon=True)
        thread.start()
        return thread

    def _threads(self) -> dict[str, str]:
        given = {**os.environ, **self.terms.environment}
        if self.terms.threads is not None:
            return _rank.threads({}, self.terms.threads)
        # Spark itself sets this one for Python workers, from the same number.
        given.pop("OMP_NUM_THREADS", None)
        return _rank.threads({**given, **self.terms.environment}, self.seat.cores)

    def _follow(self, place: dict[str, Any], payload: bytes) -> None:
        """Let the rank work, pass on what it says and writes, and tell how it ended."""
        process = self.process
        assert process is not None
        self.placement = Placement(**place["placement"])
        pumps = [
            self._thread(self._pump, process.output),
            self._thread(self._hear),
        ]
        with contextlib.suppress(_wire.Closed):  # it died: its status says how
            process.channel.send(Kind.GO, json.dumps(self._instructions(place)).encode())
            process.channel.send(Kind.WORK, payload)
        status = process.wait()
        self.done.set()
        pumps[-1].join(_DRAIN_SECONDS)
        process.channel.shut()  # a process that the rank left behind may hold the other end
        for pump in pumps:
            pump.join()
        for part in process.timeline_parts():
            self.control.send(Kind.TIMELINE, part)
        over = {"status": status, "result": self.result is not None}
        if self.placement.rank != 0:
            self.result = None
        limit = self.terms.result_limit
        if self.result is not None and limit is not None and len(self.result) > limit:
            self.control.send(Kind.RESULT, self.result)
            self.result = b""
        self.control.send(Kind.OVER, json.dumps(over).encode())

    def _instructions(self, place: dict[str, Any]) -> dict[str, Any]:
        placement = self.placement
        assert placement is not None
        environ = {**os.environ, **self.terms.environment}
        address, port = self.address, self.invitation.port
        if is_ipv6(address):
            self.relay = Relay((address, port))
            address, port = "127.0.0.1", self.relay.port
        variables = _rank.environment(
            placement,
            address=rendezvous_address(address, port, self.invitation.token),
            port=self.invitation.port,  # part of each key's path, so the same for all ranks
            interface=choose_interface(
                self.terms.interface, environ, placement.host, place["hosts"]
            ),
            given=environ,
        )
        if place["gpus"]:
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(place["gpus"])
        return {**place, "variables": variables}

    def _listen(self) -> None:
        """Do what the driver says. When it hangs up the rank has no run any more."""
        try:
            while True:
                frame = self.control.receive()
                if frame.kind == Kind.GO:
                    self.go.put(json.loads(frame.body))
                elif frame.kind == Kind.STOP:
                    self._stop()
                elif frame.kind in _DOWN and self.process is not None:
                    with contextlib.suppress(_wire.Closed):
                        self.process.channel.send(frame.kind, frame.body)
        except OSError:
            self._stop()

    def _stop(self) -> None:
        self.stopped.set()
        self.go.put(None)
        if self.process is not None and not self.done.is_set():
            self.process.kill()

    def _beat(self) -> None:
        while not self.done.wait(BEAT_SECONDS):
            state = "R" if self.process is None else self.process.state()
            with contextlib.suppress(_wire.Closed):
                self.control.beat(state.encode())
            if self._driver_is_silent():
                self.control.shut()  # the network, not the driver, has ended this attempt

    def _hear(self) -> None:
        process = self.process
        assert process is not None
        with contextlib.suppress(OSError):
            while True:
                frame = process.channel.receive()
                if frame.kind == Kind.RESULT:
                    self.result = frame.body
                elif frame.kind in _UP:
                    self.control.send(frame.kind, frame.body)

    def _pump(self, descriptor: int) -> None:
        """Pass on what arrives until nobody can write any more.

        A process that the rank has left behind may hold its end open: that is not waited for.
        """
        until: float | None = None
        while True:
            if self.done.is_set() and until is None:
                until = time.monotonic() + _DRAIN_SECONDS
            ready, _, _ = select.select([descriptor], [], [], 0.1)
            if not ready:
                if until is not None and time.monotonic() > until:
                    return
                continue
            data = os.read(descriptor, _process.PIPE_BYTES)
            if not data:
                return
            with contextlib.suppress(_wire.Closed):
                self.control.send(Kind.OUTPUT, data)
            if len(data) < _LITTLE:
                time.sleep(_GATHER_SECONDS)

    def _fail(self, error: Exception) -> None:
        """Tell the driver what went wrong here, outside of ``main``."""
        rank = self.seat.partition if self.placement is None else self.placement.rank
        failure = Failure(
            rank=rank,
            host=socket.gethostname(),
            summary=f"could not be started: {error}",
            traceback="",
        )
        with contextlib.suppress(_wire.Closed):
            self.control.send(Kind.FAILED, failure.to_json())
            self.control.send(Kind.OVER, json.dumps({"status": None, "result": False}).encode())
