"""Who may speak on a run's connections, and that nothing is changed on the way."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import inputs
from tests.unit.sparkdl_library import load

wire = load("_wire")
rendezvous = load("_rendezvous")
SECRET = b"s" * 32


class Peers:
    """A rank's and a driver's channel, connected over loopback."""

    def __init__(self, rank_secret: bytes = SECRET) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.failure: BaseException | None = None
        self.rank: Any = None
        thread = threading.Thread(target=self._call, args=(rank_secret,))
        thread.start()
        self.connection, _ = self.server.accept()
        try:
            self.driver = wire.answer(self.connection, SECRET)
        except ConnectionError as error:
            self.driver, self.refusal = None, error
            self.connection.close()
        thread.join()

    def _call(self, secret: bytes) -> None:
        try:
            self.rank = wire.call(self.server.getsockname(), secret)
        except ConnectionError as error:
            self.failure = error

    def close(self) -> None:
        for one in (self.rank, self.driver, self.server, self.connection):
            if one is not None:
                one.close()


@pytest.fixture
def peers() -> Iterator[Peers]:
    pair = Peers()
    yield pair
    pair.close()


def test_both_ends_of_a_run_understand_each_other(peers: Peers) -> None:
    peers.rank.send(b"H", b"hello")
    peers.driver.send(b"G")
    assert (peers.driver.receive().kind, peers.rank.receive().body) == (b"H", b"")


def test_without_the_secret_nobody_gets_in() -> None:
    pair = Peers(rank_secret=b"x" * 32)
    assert isinstance(pair.failure, wire.Refused)  # the rank does not trust this driver either
    assert pair.driver is None
    pair.close()


def test_something_else_is_not_a_rank() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"GET / HTTP/1.0\r\n\r\n")
    with pytest.raises(wire.Refused, match="not a rank"):
        wire.answer(ours, SECRET)
    ours.close()
    theirs.close()


def raw(channel: Any) -> socket.socket:
    return channel._socket  # type: ignore[no-any-return]


def test_a_changed_frame_is_refused(peers: Peers) -> None:
    ours, theirs = socket.socketpair()
    peers.driver._socket, kept = ours, raw(peers.driver)
    peers.driver.send(b"G", b"one")
    data = bytearray(theirs.recv(1000))
    data[10] ^= 1
    kept.sendall(data)
    with pytest.raises(wire.Refused):
        peers.rank.receive()
    for one in (ours, theirs):
        one.close()
    peers.driver._socket = kept


def test_a_repeated_frame_is_refused(peers: Peers) -> None:
    ours, theirs = socket.socketpair()
    peers.driver._socket, kept = ours, raw(peers.driver)
    peers.driver.send(b"G", b"one")
    data = theirs.recv(1000)
    kept.sendall(data + data)
    assert peers.rank.receive().body == b"one"
    with pytest.raises(wire.Refused):
        peers.rank.receive()
    for one in (ours, theirs):
        one.close()
    peers.driver._socket = kept


def test_a_rank_cannot_be_fed_its_own_frames(peers: Peers) -> None:
    ours, theirs = socket.socketpair()
    peers.rank._socket, kept = ours, raw(peers.rank)
    peers.rank.send(b"H", b"one")
    echoed = theirs.recv(1000)
    peers.rank._socket = kept
    raw(peers.driver).sendall(echoed)
    with pytest.raises(wire.Refused):
        peers.rank.receive()
    for one in (ours, theirs):
        one.close()


def test_an_impossible_length_is_refused_before_memory_is_taken(peers: Peers) -> None:
    raw(peers.driver).sendall(b"G" + (1 << 60).to_bytes(8, "big"))
    with pytest.raises(wire.Refused, match="impossible length"):
        peers.rank.receive()


def test_an_end_that_hangs_up_is_noticed(peers: Peers) -> None:
    peers.driver.shut()
    with pytest.raises(wire.Closed):
        peers.rank.receive()


@inputs(0.3)
@given(st.lists(st.tuples(st.sampled_from([b"A", b"B"]), st.binary(max_size=100_000)), max_size=5))
def test_frames_arrive_as_they_were_sent(frames: list[tuple[bytes, bytes]]) -> None:
    ours, theirs = socket.socketpair()
    sender = wire.Channel(ours, sends=b"k")
    receiver = wire.Channel(theirs, receives=b"k")
    thread = threading.Thread(target=lambda: [sender.send(*one) for one in frames])
    thread.start()
    arrived = [receiver.receive() for _ in frames]
    thread.join()
    assert [(one.kind, one.body) for one in arrived] == frames
    sender.close()
    receiver.close()


def asked(store: Any, request: bytes) -> bytes:
    ours, theirs = socket.socketpair()
    theirs.sendall(request)
    theirs.shutdown(socket.SHUT_WR)
    store.serve(ours)
    ours.close()
    answer = b""
    while part := theirs.recv(4096):
        answer += part
    theirs.close()
    return answer


def put(path: str, value: bytes) -> bytes:
    return f"PUT {path} HTTP/1.1\r\nContent-Length: {len(value)}\r\n\r\n".encode() + value


def test_ranks_leave_values_for_each_other() -> None:
    store = rendezvous.KeyStore("token")
    assert b"404" in asked(store, b"GET /token/x:1/global/0 HTTP/1.1\r\n\r\n")
    assert b"200" in asked(store, put("/token/x:1/global/0", b"a\0b"))
    assert asked(store, b"GET /token/x:1/global/0 HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\na\0b")
    assert b"200" in asked(store, b"DELETE /token/x:1/global/0 HTTP/1.1\r\n\r\n")
    assert b"404" in asked(store, b"GET /token/x:1/global/0 HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("path", ["/global/0", "/Token/x:1/global/0", "//x/0", "/", "token"])
def test_without_the_token_there_is_nothing(path: str) -> None:
    store = rendezvous.KeyStore("token")
    asked(store, put("/token/x:1/global/0", b"value"))
    for request in (f"GET {path} HTTP/1.1\r\n\r\n".encode(), put(path, b"evil")):
        answer = asked(store, request)
        assert answer.startswith(b"HTTP/1.0 400")
        assert b"value" not in answer
    assert asked(store, b"GET /token/x:1/global/0 HTTP/1.1\r\n\r\n").endswith(b"value")


@given(st.binary(max_size=200))
def test_no_request_breaks_the_store(request: bytes) -> None:
    assert asked(rendezvous.KeyStore("token"), request).startswith(b"HTTP/1.0 ")


def test_the_address_given_to_horovod_begins_every_path_with_the_token() -> None:
    address = rendezvous.address("10.0.0.1", 4000, "secret")
    # Horovod builds its URLs in this way, in C++.
    assert f"http://{address}:4000/global/0" == "http://10.0.0.1:4000/secret/x:4000/global/0"
