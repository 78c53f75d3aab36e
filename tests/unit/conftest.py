"""Unit tests start no processes and leave this machine alone, unless they say so."""

import socket
import subprocess
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _at_home(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to other machines; and processes, but for tests marked ``starts``.

    What is marked ``engine`` is no unit test in that sense.
    """
    if request.node.get_closest_marker("engine"):
        return
    connect = socket.socket.connect

    def near(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not _loopback(address[0]):
            raise AssertionError(f"a unit test connects to {address}")
        connect(self, address)

    def refused(*words: Any, **options: Any) -> None:
        raise AssertionError(f"a unit test starts {words[0]}: mark it with `starts`, or do not")

    monkeypatch.setattr(socket.socket, "connect", near)
    if request.node.get_closest_marker("starts") is None:
        monkeypatch.setattr(subprocess, "Popen", refused)


def _loopback(host: Any) -> bool:
    return str(host) in ("localhost", "::1") or str(host).startswith("127.")
