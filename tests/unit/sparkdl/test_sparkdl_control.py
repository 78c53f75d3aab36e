"""The driver's port: who joins, who does not, and what each task is told."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.unit.sparkdl_library import load

control = load("_control")
wire = load("_wire")
Kind = wire.Kind


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.saved = b""

    def output(self, rank: int, data: bytes) -> None:
        self.heard.append(("output", rank, data))

    def timeline(self, data: bytes) -> None:
        self.heard.append(("timeline", data))

    def message(self, rank: int, text: str) -> None:
        self.heard.append(("message", rank, text))

    def metrics(self, rank: int, metrics: Any) -> None:
        self.heard.append(("metrics", rank, metrics))

    def save(self, data: bytes) -> None:
        if data == b"full":
            raise OSError("no space left")
        self.saved = data

    def load(self) -> bytes:
        return b"D" + self.saved


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def port(listener: Listener) -> Iterator[Any]:
    with control.Control(
        ["127.0.0.1"], host="127.0.0.1", port=0, rank_timeout=5, listener=listener
    ) as opened:
        yield opened


def joined(port: Any, partition: int = 0) -> Any:
    invitation = port.invitation
    channel = wire.call(("127.0.0.1", invitation.port), invitation.secret)
    about = {"partition": partition, "host": "h", "gpus": [], "stage": 1}
    channel.send(Kind.HELLO, json.dumps(about).encode())
    assert isinstance(port.events.get(timeout=5), control.Joined)
    return channel


def test_what_a_rank_says_is_heard_and_answered(port: Any, listener: Listener) -> None:
    channel = joined(port)
    port.members[0].rank = 3
    channel.send(Kind.OUTPUT, b"x\n")
    channel.send(Kind.MESSAGE, "ü".encode())
    channel.send(Kind.METRICS, b'{"a": 1}')
    channel.send(Kind.SAVE, b"weights")
    assert channel.receive().kind == Kind.SAVED
    channel.send(Kind.SAVE, b"full")
    assert channel.receive().body == b"no space left"
    channel.send(Kind.LOAD)
    assert channel.receive().body == b"Dweights"
    assert listener.heard == [("output", 3, b"x\n"), ("message", 3, "ü"), ("metrics", 3, {"a": 1})]
    channel.send(Kind.OVER, b'{"status": 0, "result": true}')
    over = port.events.get(timeout=5)
    assert over.member.over == {"status": 0, "result": True}
    assert not over.member.gone
    channel.close()


def test_a_task_that_hangs_up_without_a_word_is_gone(port: Any) -> None:
    channel = joined(port)
    channel.close()
    assert port.events.get(timeout=5).member.gone


def test_a_peer_that_takes_nothing_any_more_is_not_waited_for(
    port: Any, listener: Listener
) -> None:
    listener.saved = bytes(64 << 20)
    channel = joined(port)
    channel.send(Kind.LOAD)
    # It reads no byte of the checkpoint: a frozen host. The driver's thread is stuck in sending.
    time.sleep(0.5)
    began = time.monotonic()
    port.stop()
    assert time.monotonic() - began < 1
    # Should it thaw, it finds the connection ended, which is what stop means.
    with pytest.raises(ConnectionError):
        while True:
            channel.receive()
    channel.close()


def test_stop_arrives_where_somebody_listens(port: Any) -> None:
    channel = joined(port)
    port.stop()
    while (frame := channel.receive()).kind == Kind.BEAT:
        pass
    assert frame.kind == Kind.STOP
    channel.close()


def test_strangers_neither_join_nor_disturb(port: Any) -> None:
    address = ("127.0.0.1", port.invitation.port)
    channel = joined(port)
    with pytest.raises(ConnectionError):
        wire.call(address, b"x" * 32)
    for noise in (b"GET /global/0 HTTP/1.1\r\n\r\n", b"\0" * 100, wire.MAGIC + b"\1" * 200):
        # It may hang up before we have said everything.
        with socket.create_connection(address) as stranger, suppress(OSError):
            stranger.sendall(noise)
            stranger.shutdown(socket.SHUT_WR)
            while stranger.recv(1024):
                pass
    assert port.members.keys() == {0}
    channel.send(Kind.LOAD)
    assert channel.receive().kind in (Kind.CHECKPOINT, Kind.BEAT)
    channel.close()


def test_the_secret_is_not_shown(port: Any) -> None:
    shown = repr(port.invitation)
    assert port.invitation.token not in shown
    assert repr(port.invitation.secret) not in shown


def test_both_sides_give_signs_of_life(port: Any) -> None:
    channel = joined(port)
    channel.beat(b"T")
    assert channel.receive().kind == Kind.BEAT
    deadline = time.monotonic() + 5
    while port.members[0].stopped is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    channel.close()


def test_after_the_end_nothing_is_left(listener: Listener) -> None:
    before = threading.active_count()
    with control.Control(
        ["127.0.0.1"], host="127.0.0.1", port=0, rank_timeout=5, listener=listener
    ) as opened:
        channel = joined(opened)
        number = opened.invitation.port
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number))
    channel.close()


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(OSError, match=r"203\.0\.113\.1: .*spark\.driver\.bindAddress"):
        control._listen(["203.0.113.1"], 0)


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("own", {0: (0, ["1"], 0), 1: (2, ["0"], 0), 2: (1, ["0"], 0)}),
        ("host", {0: (0, ["1", "0"], 0), 1: (2, ["0"], 0), 2: (1, ["1", "0"], 1)}),
    ],
)
def test_each_rank_is_told_its_gpus(visible: str, seen: dict[int, Any]) -> None:
    told: dict[int, Any] = {}

    class Port:
        def tell(self, member: Any, kind: bytes, body: bytes) -> None:
            told[member.partition] = json.loads(body)

    options = load("_options").RunOptions(visible_gpus=visible)
    attempt = load("_attempt").Attempt(None, 3, options, Logs(), 0)
    attempt.control = port = Port()
    port.members = {  # type: ignore[attr-defined]
        number: control.Member(partition=number, about={"host": host, "gpus": [gpu]}, channel=None)
        for number, (host, gpu) in enumerate([("a", "1"), ("b", "0"), ("a", "0")])
    }
    attempt._place()
    places = {n: (one["placement"]["rank"], one["gpus"], one["own"]) for n, one in told.items()}
    assert places == seen


class Logs:
    checkpoints = None
