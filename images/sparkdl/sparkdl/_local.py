"""Ranks as processes on the driver's own host."""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cloudpickle

from sparkdl import _rank
from sparkdl._errors import Failure, RankFailed, died
from sparkdl._network import interface_with
from sparkdl._ranks import Placement, place
from sparkdl._rendezvous import Rendezvous

_LOOPBACK = "127.0.0.1"
_EXIT_SECONDS = 3.0
_RESULT, _FAILURE = b"R", b"F"
_CHILD = "import sys; from sparkdl._local import child; child(int(sys.argv[1]))"


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """What came out of one child: its message (empty when it died) and its exit status."""

    placement: Placement
    message: bytes
    status: int | None


def run(payload: bytes, np: int) -> bytes:
    """Run ``payload`` in ``np`` new processes and return rank 0's pickled result.

    When one fails or dies the others are ended before ``RankFailed`` is raised; none outlives
    the call, nor this process.
    """
    ended: queue.Queue[_Ended] = queue.Queue()
    results: dict[int, bytes] = {}
    placements = place(["localhost"] * np)
    with Rendezvous(_LOOPBACK) as rendezvous, _processes(placements, payload, rendezvous, ended):
        while len(results) < np:
            one = ended.get()
            if one.message[:1] != _RESULT:
                raise _error(one)
            results[one.placement.rank] = one.message[1:]
    return results[0]


def _error(one: _Ended) -> RankFailed:
    size = one.placement.size
    if one.message[:1] == _FAILURE:
        return Failure.from_json(one.message[1:]).as_error(size)
    status = one.status
    if status is not None and status < 0:
        how = f"killed by {signal.Signals(-status).name}"
    else:
        how = f"exited with status {status}"
    return died(one.placement.rank, size, socket.gethostname(), how)


@contextmanager
def _processes(
    placements: tuple[Placement, ...],
    payload: bytes,
    rendezvous: Rendezvous,
    ended: "queue.Queue[_Ended]",
) -> Iterator[None]:
    """Start one process per placement; end those that still run when the block is left."""
    processes: list[subprocess.Popen[bytes]] = []
    threads: list[threading.Thread] = []
    interface = interface_with(_LOOPBACK)
    try:
        for placement in placements:
            variables = _rank.environment(
                placement, address=_LOOPBACK, port=rendezvous.port, interface=interface
            )
            reading, writing = os.pipe()
            process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(writing)],
                stdin=subprocess.PIPE,
                pass_fds=(writing,),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path)},
            )
            os.close(writing)
            processes.append(process)
            message = cloudpickle.dumps((payload, placement, variables))
            thread = threading.Thread(
                target=_attend, args=(process, reading, message, placement, ended), daemon=True
            )
            thread.start()
            threads.append(thread)
        yield
        _await_exit(processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for thread in threads:
            thread.join()
        for process in processes:
            with contextlib.suppress(OSError):
                process.stdin.close()


def _await_exit(processes: "list[subprocess.Popen[bytes]]") -> None:
    """Give processes that have answered a moment to run their exit handlers."""
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_EXIT_SECONDS)


def _attend(
    process: "subprocess.Popen[bytes]",
    reading: int,
    message: bytes,
    placement: Placement,
    ended: "queue.Queue[_Ended]",
) -> None:
    """Hand the child its work, wait for its one message, and pass that on."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(len(message).to_bytes(8, "big") + message)
        process.stdin.flush()
    try:
        answer = _read_message(reading)
    finally:
        os.close(reading)
    status = None if answer else process.wait()
    ended.put(_Ended(placement=placement, message=answer, status=status))


def _read_exactly(descriptor: int, count: int) -> bytes:
    """Return ``count`` bytes, or fewer when the other end is gone."""
    parts = []
    while count:
        part = os.read(descriptor, min(count, 1 << 20))
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _read_message(descriptor: int) -> bytes:
    """Return one message, or nothing when it was cut short."""
    header = _read_exactly(descriptor, 8)
    if len(header) < 8:
        return b""
    size = int.from_bytes(header, "big")
    body = _read_exactly(descriptor, size)
    return body if len(body) == size else b""


def _write_message(descriptor: int, body: bytes) -> None:
    data = memoryview(len(body).to_bytes(8, "big") + body)
    while data:
        data = data[os.write(descriptor, data) :]


def child(writing: int) -> None:
    """Be one rank: read the work from stdin, run it, write one message to ``writing``.

    The parent keeps the other end of stdin open for as long as it wants this process: when it
    closes it, or dies, this process ends too.
    """
    os.set_inheritable(writing, False)
    lifeline = os.dup(0)
    message = _read_message(lifeline)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    payload, placement, variables = cloudpickle.loads(message)
    try:
        result = _rank.run(payload, variables)
    except BaseException as error:
        _write_message(writing, _FAILURE + _rank.account(error, placement).to_json())
        # A normal exit would shut Horovod down, which waits for ranks that may be stuck.
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(1)
    sys.stdout.flush()
    _write_message(writing, _RESULT + result)


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)
