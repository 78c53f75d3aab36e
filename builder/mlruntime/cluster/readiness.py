"""When a cluster of containers is ready: its master says so; and which node ended before that."""

import queue
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from mlruntime.cluster.description import ClusterDescription
from mlruntime.cluster.running import ClusterFailed, Item
from mlruntime.cluster.signals import unimpressed
from mlruntime.engine import Container, Exec, State
from mlruntime.errors import MlruntimeError, Unavailable

_WATCH_SECONDS: Final = 0.25
# Java's stack traces are long, and the cause may be far above their end.
_LOG_LINES: Final = 400
_TOLD_LINES: Final = 20
_FRAME: Final = re.compile(r"\s+(at |\.\.\. \d+ more)")

# Runs in a node: says how many workers the master sees, ends when it is all.
_AWAIT: Final = """
import json, sys, time, urllib.request
url, wanted, seen = sys.argv[1], int(sys.argv[2]), None
while seen != wanted:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            alive = json.load(answer)["aliveworkers"]
    except (OSError, ValueError, KeyError):
        alive = None
    if alive != seen:
        seen = alive
        print(seen, flush=True)
    time.sleep(0.1)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Casualty:
    """A container that ended although it should run."""

    role: str
    state: State
    log: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.role} {self.state}"


class ContainerProcess:
    """A process in the driver's container."""

    def __init__(self, process: Exec) -> None:
        self._process = process
        self._items = pumped(process)

    @property
    def items(self) -> "queue.Queue[Item]":
        """Its lines, and its end."""
        return self._items

    def kill(self) -> None:
        """Kill it with all its descendants; nothing when its container is gone."""
        with suppress(Unavailable):
            self._process.kill()


def first_dead(nodes: Mapping[str, Container], restarts: int = 0) -> Casualty | None:
    """Return the first of these that has ended, even if it was started again since.

    ``restarts`` are those that are older.
    """
    for name, container in nodes.items():
        state = container.state()
        if not state.running or state.restarts > restarts:
            log: tuple[str, ...] = ()
            with suppress(Unavailable):
                log = container.logs(tail=_LOG_LINES)
            return Casualty(role=name, state=state, log=log)
    return None


def await_workers(
    description: ClusterDescription,
    nodes: Mapping[str, Container],
    *,
    via: Container,
    say: Callable[[str], None],
    ready: float,
    clock: Callable[[], float],
) -> None:
    """Wait until all workers have registered; the master is asked from within the node ``via``.

    Raises ``ClusterFailed``, with the last lines of a container, when one of ``nodes`` ends before
    that or when it takes longer than ``ready`` seconds. Then nothing goes on asking the master.
    """
    wanted, deadline = description.ready, clock() + ready
    process = ContainerProcess(via.exec(["python3", "-c", _AWAIT, wanted.url, str(wanted.workers)]))
    try:
        while True:
            item = _next(process)
            if (dead := first_dead(nodes)) is not None:
                words = _last_words(dead)
                what = f"{dead} before the cluster was ready"
                raise ClusterFailed(what, why=words, hint=description.gpus.hint(words))
            if isinstance(item, int):
                if item == 0:
                    return
                raise ClusterFailed(f"waiting for the workers exited with {item}")
            if isinstance(item, MlruntimeError):
                raise item
            if item and item[0] == "stdout":
                count = item[1] if item[1] != "None" else "no"
                say(f"{count} of {wanted.workers} workers registered")
            if clock() > deadline:
                log = "\n       ".join(nodes.get("master", via).logs()[-10:])
                raise ClusterFailed(f"the workers did not register within {ready:g} s", why=log)
    except BaseException:
        with unimpressed():
            process.kill()
        raise


def await_exec(
    name: str,
    container: Container,
    start: Callable[[], ContainerProcess],
    *,
    what: str,
    deadline: float,
    clock: Callable[[], float],
) -> None:
    """Wait until a process in a node, which waits for ``what`` there, has ended with 0.

    Raises ``ClusterFailed``, with the node's last lines, when the node ends before that, or at the
    deadline. The process is killed in any case.
    """
    restarts, process = container.state().restarts, None
    try:
        while True:
            with suppress(Unavailable):  # a node that has ended is told below
                process = process or start()
            item = _next(process)
            if (dead := first_dead({name: container}, restarts)) is not None:
                raise ClusterFailed(f"{dead} before {what} answered", why=_last_words(dead))
            if item == 0:
                return
            if isinstance(item, int):
                raise ClusterFailed(f"waiting for {what} exited with {item}")
            if isinstance(item, MlruntimeError):
                raise item
            if clock() > deadline:
                log = "\n       ".join(container.logs()[-10:])
                raise ClusterFailed(f"{what} did not answer in time", why=log)
    finally:
        if process is not None:
            with unimpressed():
                process.kill()


def _next(process: ContainerProcess | None) -> Item | None:
    if process is None:
        return None
    try:
        return process.items.get(timeout=_WATCH_SECONDS)
    except queue.Empty:
        return None


def _last_words(dead: Casualty) -> str:
    lines = [line for line in dead.log if not _FRAME.match(line)]
    return "\n       ".join(lines[-_TOLD_LINES:]) or "no output"


def pumped(process: Exec) -> "queue.Queue[Item]":
    """Run a process from a thread; its lines, then its exit code or what went wrong, come out."""
    items: queue.Queue[Item] = queue.Queue()

    def pump() -> None:
        try:
            for line in process:
                items.put(line)
            items.put(process.exit_code())
        except MlruntimeError as error:
            items.put(error)

    threading.Thread(target=pump, daemon=True, name="exec").start()
    return items
