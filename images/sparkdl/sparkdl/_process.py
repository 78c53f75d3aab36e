"""A task's side of its rank's process: have one made by the keeper, follow it, kill it."""

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sparkdl import _keeper
from sparkdl._wire import Channel

PIPE_BYTES = 1 << 20
_KEEPER_SECONDS = 20.0


class KeeperEnded(RuntimeError):  # noqa: N818
    """The process that ranks are forked from was there, but ended before it made one."""


@dataclass(kw_only=True, slots=True)
class RankProcess:
    """A running rank: what it writes, what it says, and how it ends."""

    pid: int
    output: int
    timeline: int
    channel: Channel
    connection: socket.socket

    def state(self) -> str:
        """Return the letter that /proc has for the process; X when it is gone."""
        return self._look()[0]

    def _look(self) -> tuple[str, int]:
        """Return the process's state and session."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:  # noqa: PTH123
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            return "X", 0
        return fields[0].decode(), int(fields[3])

    def wait(self) -> int | None:
        """Return the exit status (negative: the signal), ``None`` when the keeper is gone."""
        data = b""
        with contextlib.suppress(OSError):
            while part := self.connection.recv(256):
                data += part
        return json.loads(data)["status"] if data.endswith(b"\n") else None

    def timeline_parts(self) -> Iterator[bytes]:
        """Yield what Horovod has written to its timeline, once it writes no more."""
        offset = 0
        while part := os.pread(self.timeline, PIPE_BYTES, offset):
            yield part
            offset += len(part)

    def kill(self) -> None:
        """End the process, and all that it has started, at once."""
        # The keeper does it, even when this process is killed before it can; but it may be busy.
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
        if self._look()[1] == self.pid:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Give back what is open; the rank dies if it still runs."""
        for descriptor in (self.output, self.timeline):
            os.close(descriptor)
        self.channel.close()
        self.connection.close()


def start(
    *,
    environ: Mapping[str, str],
    preload: list[str],
    owners: list[int],
    keep_warm: float,
    import_timeout: float,
) -> RankProcess:
    """Have a rank made in a process of its own, which waits for its work.

    Raises ``TimeoutError`` if importing one of the modules ``preload`` does not end.
    """
    request = {
        "environ": dict(environ),
        "path": sys.path,
        "cwd": os.getcwd(),  # noqa: PTH109
        "preload": preload,
        "import_timeout": import_timeout,
    }
    try:
        return _start(request, owners, keep_warm)
    except KeeperEnded:
        # It had waited long enough, just when it was needed.
        return _start(request, owners, keep_warm)


def _start(request: Mapping[str, Any], owners: list[int], keep_warm: float) -> RankProcess:
    connection = _connected(request["environ"], owners, keep_warm)
    reading, writing = os.pipe()
    with contextlib.suppress(OSError):  # a rank that writes much is then not held up so often
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    # Horovod seeks in it, so it is a file, but one that is in memory only.
    timeline = os.memfd_create("timeline")
    ours, theirs = socket.socketpair()
    try:
        try:
            _keeper.send_request(connection, request, [writing, theirs.fileno(), timeline])
        except OSError as error:
            raise KeeperEnded(f"the process that ranks are forked from ended: {error}") from None
        pid = _made(connection, request["import_timeout"], request["preload"])
    except BaseException:
        connection.close()
        ours.close()
        os.close(reading)
        os.close(timeline)
        raise
    finally:
        theirs.close()
        os.close(writing)
    return RankProcess(
        pid=pid,
        output=reading,
        timeline=timeline,
        channel=Channel(ours),
        connection=connection,
    )


def _made(connection: socket.socket, seconds: float, preload: list[str]) -> int:
    """Return the process of the rank, which is made when everything is imported."""
    name = " or ".join(preload)  # until it says which it is: it may be busy with another rank's
    # It imports one module after the other for that one, and each may take so long.
    connection.settimeout(seconds * len([*_keeper.OWN, *preload]))
    try:
        while "pid" not in (said := _line(connection)):
            name = said["importing"]
            connection.settimeout(seconds)
    except TimeoutError:
        raise TimeoutError(
            f"importing {name or 'sparkdl'} did not end within {seconds:g} s on "
            f"{socket.gethostname()}. See what it waits for there, or allow longer with "
            "options(import_timeout=…)"
        ) from None
    connection.settimeout(None)
    return int(said["pid"])


def _line(connection: socket.socket) -> dict[str, Any]:
    data = b""
    while not data.endswith(b"\n"):
        part = connection.recv(1)
        if not part:
            raise KeeperEnded("the process that ranks are forked from ended")
        data += part
    return json.loads(data)


def _connected(environ: Mapping[str, str], owners: list[int], keep_warm: float) -> socket.socket:
    """Connect to this executor's keeper; start one if there is none."""
    belongs = [_keeper.owner(pid) for pid in owners]
    name = _name(environ, belongs, keep_warm)
    deadline = time.monotonic() + _KEEPER_SECONDS
    started = False
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(_keeper.address_of(name))
            if _keeper.peer_uid(connection) == os.getuid():
                return connection
            raise RuntimeError("another user's process has taken this executor's socket name")
        except ConnectionRefusedError:
            connection.close()
            if time.monotonic() > deadline:
                raise RuntimeError(
                    "the process that ranks are forked from did not start; the executor's "
                    "stderr says why"
                ) from None
        except BaseException:
            connection.close()
            raise
        if not started:
            _launch(name, environ, belongs, keep_warm)
            started = True
        time.sleep(0.01)


def _name(environ: Mapping[str, str], belongs: list[str], keep_warm: float) -> str:
    """Name the keeper after all that it cannot change later."""
    read = sorted(item for item in environ.items() if item[0].startswith(_keeper.READ_AT_IMPORT))
    all_of_it = json.dumps([sys.executable, read, belongs, keep_warm])
    return hashlib.sha256(all_of_it.encode()).hexdigest()[:32]


def _launch(name: str, environ: Mapping[str, str], belongs: list[str], keep_warm: float) -> None:
    code = "from sparkdl._keeper import main; main()"
    # Between two forks of one run nobody has asked for anything, so 0 means a little.
    seconds = str(max(keep_warm, 1.0))
    # What belongs to one rank, the rendezvous' token above all, is not the keeper's.
    shared = {name: value for name, value in environ.items() if not name.startswith("HOROVOD_")}
    subprocess.run(
        [sys.executable, "-c", code, name, seconds, *belongs],
        stdin=subprocess.DEVNULL,
        stdout=2,
        env={**shared, "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path)},
        timeout=_KEEPER_SECONDS,
        check=False,  # whether it listens is seen by connecting
    )
