"""The process from which ranks are forked: one per executor, with the frameworks loaded.

Importing TensorFlow takes seconds, and a process that trained once carries the traces of it.
So one process imports what the next ``main`` will, runs nothing else, and forks a child for
each rank: every rank starts from the same clean state, in milliseconds. It has a single thread
whenever it forks.

It imports what the text of ``main`` names before it forks, and what ranks turn out to have
imported when it has nothing else to do.

It speaks with tasks over a Unix socket in the abstract namespace (no file), to processes of the
same user only. It kills a rank whose task hangs up, and ends itself when one of the processes
it belongs to is gone or nobody has asked it for anything for a while; its ranks die with it.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

_LOOK_SECONDS = 1.0
_REQUEST_SECONDS = 10.0
_GIVEN_UP_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1
_SIZE = struct.Struct(">Q")
DESCRIPTORS = 3
# What every rank needs, imported once instead of in each.
OWN = ("cloudpickle", "sparkdl._rank", "sparkdl.horovod")
# What takes long to import, in an order in which none imports a later one.
FRAMEWORKS = ("tensorflow", "horovod.tensorflow", "keras", "horovod.tensorflow.keras")
# These change what importing Keras does: a main that sets them must do that for itself.
SWITCHES = ("TF_USE_LEGACY_KERAS", "KERAS_BACKEND")
# What sets the number of threads, or chooses code, is read when a library is loaded.
READ_AT_IMPORT = ("TF_", "KERAS", "OMP_", "OPENBLAS_", "MKL_", "XLA_", "LD_", "PYTHON")


@dataclass(kw_only=True, slots=True)
class _Rank:
    pid: int
    connection: socket.socket


def main() -> None:
    """Serve until it is time to end: ``NAME SECONDS PID:START…`` are the arguments."""
    name, seconds, *owners = sys.argv[1:]
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        server.bind(address_of(name))
    except OSError:
        return  # another task of this executor was faster
    server.listen(64)
    if os.fork():
        # It is nobody's child: whoever started it need not wait for its end, only for this one.
        os._exit(0)
    _Keeper(server, float(seconds), [parse_owner(one) for one in owners]).serve()


def address_of(name: str) -> str:
    """Return the address of the keeper of this name, in the abstract namespace."""
    return f"\0sparkdl-{os.getuid()}-{name}"


def owner(pid: int) -> str:
    """Name a process so that another one with its number is not taken for it."""
    return f"{pid}:{_started(pid)}"


def parse_owner(text: str) -> tuple[int, int]:
    """Read what ``owner`` wrote."""
    pid, _, start = text.partition(":")
    return int(pid), int(start)


def _started(pid: int) -> int:
    """Return when a process was started, in ticks; 0 when there is none or it is a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - no import of pathlib
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in b"ZX" else int(fields[19])


class _Keeper:
    def __init__(
        self, server: socket.socket, seconds: float, owners: list[tuple[int, int]]
    ) -> None:
        self.server = server
        self.seconds = seconds
        self.owners = owners
        self.ranks: dict[int, _Rank] = {}
        self.busy = time.monotonic()
        self.select = selectors.DefaultSelector()
        self.select.register(server, selectors.EVENT_READ, self._accept)
        self.wake, wake = socket.socketpair()
        self.wake.setblocking(False)
        wake.setblocking(False)
        self._wake_write = wake
        self.select.register(self.wake, selectors.EVENT_READ, self._reap)
        self.lessons, self._teach = os.pipe()
        self.select.register(self.lessons, selectors.EVENT_READ, self._learn)
        self.wanted: set[str] = set()
        self.import_timeout = 0.0
        # Ctrl-C in a terminal reaches the whole foreground group: the driver decides, not this.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)

    def serve(self) -> None:
        while self._wanted():
            for key, _ in self.select.select(_LOOK_SECONDS):
                # What came before it in this batch may have ended it: a rank and its task are gone
                # at once, and the kernel tells of them in any order.
                if self.select.get_map().get(key.fd) is key:
                    key.data(key.fileobj)
            if self.wanted and not self.ranks:
                names = [name for name in FRAMEWORKS if name in self.wanted]
                preload(names, self.import_timeout)
                self.wanted.clear()
        for rank in self.ranks.values():
            _kill(rank.pid)

    def _wanted(self) -> bool:
        if any(_started(pid) != start for pid, start in self.owners):
            return False
        idle = not self.ranks and time.monotonic() - self.busy > self.seconds
        return not idle

    def _accept(self, server: socket.socket) -> None:
        connection, _ = server.accept()
        descriptors: list[int] = []
        try:
            connection.settimeout(_REQUEST_SECONDS)
            if peer_uid(connection) != os.getuid():
                raise PermissionError("a process of another user")
            request, descriptors = _read_request(connection)
            self.import_timeout = request["import_timeout"]

            def tell(name: str) -> None:
                connection.sendall(json.dumps({"importing": name}).encode() + b"\n")

            preload([*OWN, *request["preload"]], self.import_timeout, tell)
            pid = self._fork(request, descriptors, connection)
            connection.sendall(json.dumps({"pid": pid}).encode() + b"\n")
        except (OSError, ValueError, KeyError):
            connection.close()
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self.ranks[pid] = _Rank(pid=pid, connection=connection)
        self.select.register(connection, selectors.EVENT_READ, self._hung_up)

    def _fork(
        self, request: dict[str, Any], descriptors: list[int], connection: socket.socket
    ) -> int:
        keeper = os.getpid()
        gc.freeze()
        with warnings.catch_warnings():
            # Python 3.12 warns of BLAS's own idle threads, which know what a fork is.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid:
            return pid
        try:
            self._forget()
            connection.close()
            _become_rank(request, descriptors, keeper, self._teach)
        except BaseException:  # the child must never come back into the keeper's loop
            traceback.print_exc()
        finally:
            os._exit(1)

    def _forget(self) -> None:
        """In the child: let go of everything that is the keeper's."""
        signal.set_wakeup_fd(-1)
        self.select.close()
        os.close(self.lessons)
        for one in (self.server, self.wake, self._wake_write):
            one.close()
        for rank in self.ranks.values():
            rank.connection.close()

    def _learn(self, lessons: int) -> None:
        """A rank says what it has imported, one name a line."""
        names = os.read(lessons, 1 << 16).decode().split()
        self.wanted.update(name for name in names if name not in sys.modules)

    def _hung_up(self, connection: socket.socket) -> None:
        """A task never says anything after its request: readable means that it is gone."""
        for rank in self.ranks.values():
            if rank.connection is connection:
                _kill(rank.pid)
        self.select.unregister(connection)

    def _reap(self, wake: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while wake.recv(512):
                pass
        while self.ranks:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            # Before the number can belong to another process: what the rank has left running.
            if ended.si_pid in self.ranks:
                _kill(ended.si_pid)
            _, status = os.waitpid(ended.si_pid, 0)
            rank = self.ranks.pop(ended.si_pid, None)
            if rank is not None:
                self._tell(rank, os.waitstatus_to_exitcode(status))
            self.busy = time.monotonic()

    def _tell(self, rank: _Rank, status: int) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self.select.unregister(rank.connection)
        with contextlib.suppress(OSError):
            rank.connection.sendall(json.dumps({"status": status}).encode() + b"\n")
        rank.connection.close()


def _kill(pid: int) -> None:
    """Kill a rank and all that it has started in its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # it may not have got as far as having a group


def peer_uid(connection: socket.socket) -> int:
    """Return the user at the other end of a Unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", credentials)[1])


def send_request(
    connection: socket.socket, request: dict[str, Any], descriptors: list[int]
) -> None:
    """Ask for a rank; its stdout/stderr, its channel and the timeline are the descriptors."""
    body = json.dumps(request).encode()
    socket.send_fds(connection, [_SIZE.pack(len(body))], descriptors)
    connection.sendall(body)


def _read_request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, descriptors, _, _ = socket.recv_fds(connection, _SIZE.size, DESCRIPTORS)
    try:
        if len(head) != _SIZE.size or len(descriptors) != DESCRIPTORS:
            raise ValueError("not a request")
        parts, left = [], _SIZE.unpack(head)[0]
        while left:
            part = connection.recv(min(left, 1 << 16))
            if not part:
                raise ValueError("cut short")
            parts.append(part)
            left -= len(part)
        return json.loads(b"".join(parts)), descriptors
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def preload(
    names: list[str], seconds: float, tell: Callable[[str], None] = lambda name: None
) -> None:
    """Import modules, and tell which; one that cannot be imported is left for ``main`` to fail on.

    One that takes longer than ``seconds`` is the end of this process, whatever it is doing: whoever
    has asked for it has given up, or is gone.
    """
    for name in names:
        if name in sys.modules:
            continue
        tell(name)
        signal.setitimer(signal.ITIMER_REAL, seconds + _GIVEN_UP_SECONDS)
        try:
            importlib.import_module(name)
        except Exception:
            traceback.print_exc()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _become_rank(request: dict[str, Any], descriptors: list[int], keeper: int, teach: int) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output, channel, timeline = descriptors
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    os.set_inheritable(timeline, False)
    # Whatever these objects had buffered was the keeper's.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = sys.__stdout__ = _text_file(1)
    sys.stderr = sys.__stderr__ = _text_file(2)
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.path[:] = request["path"]
    sys.argv[:] = [""]
    with contextlib.suppress(OSError):
        os.chdir(request["cwd"])
    _reseed()
    from sparkdl import _rank

    _rank.serve(channel, timeline, lambda: _tell_imports(teach, request["environ"]))


def _tell_imports(teach: int, given: dict[str, str]) -> None:
    """Tell the keeper what was imported here, unless ``main`` had switched what that does."""
    switched = any(os.environ.get(name) != given.get(name) for name in SWITCHES)
    names = FRAMEWORKS[:1] if switched else FRAMEWORKS
    os.write(teach, "".join(f"{name}\n" for name in names if name in sys.modules).encode())


def _text_file(descriptor: int) -> TextIO:
    """Open a descriptor so that each line goes out at once, whatever is in it."""
    return os.fdopen(descriptor, "w", buffering=1, closefd=False, errors="backslashreplace")


def _reseed() -> None:
    """Give this child random numbers of its own: it has inherited the keeper's generators."""
    for name in ("random", "numpy.random"):
        module = sys.modules.get(name)
        if module is not None:
            module.seed()


if __name__ == "__main__":
    main()
