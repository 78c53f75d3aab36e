"""How slow the cluster's host is at the moment: a fixed computation, one process for each worker.

It takes longer on an older machine, in a container with a quota, and beside other jobs.
"""

import queue
import time
from collections.abc import Callable, Sequence
from typing import Final

from mlruntime.cluster.running import Process
from mlruntime.errors import MlruntimeError

_WAIT_SECONDS: Final = 60.0
_STARTED: Final = "started"
_TICK_SECONDS: Final = 0.5
_PROGRAM: Final = """
import os, sys, time, zlib
data = b"".join(b"%d %d\\n" % (n, n * n * 2654435761 % 4294967296) for n in range(150000))
print("started", flush=True)
start = time.monotonic()
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        zlib.compress(data, 6)
        zlib.compress(data, 6)
        os._exit(0)
try:
    while True:
        os.wait()
except ChildProcessError:
    print(time.monotonic() - start, flush=True)
"""


def measure(
    run: Callable[[Sequence[str]], Process],
    processes: int,
    clock: Callable[[], float] = time.monotonic,
) -> float | None:
    """Return the seconds that the fixed computation takes where ``run`` starts it.

    One that has started and does not end in time has taken as long as was waited. ``None`` when it
    does not even start, or fails: then nothing is known.
    """
    process = run(["python3", "-c", _PROGRAM, str(processes)])
    deadline, said = clock() + _WAIT_SECONDS, list[str]()
    while clock() < deadline:
        try:
            item = process.items.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            continue
        if isinstance(item, int | MlruntimeError):
            return _seconds(said) if item == 0 else None
        if item[0] == "stdout":
            said.append(item[1])
    process.kill()
    return _WAIT_SECONDS if said == [_STARTED] else None


def _seconds(said: list[str]) -> float | None:
    try:
        started, seconds = said
        return float(seconds) if started == _STARTED else None
    except ValueError:
        return None
