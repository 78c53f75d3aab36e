"""Holds the node: ``python -m tests.kubernetes.supervisor PROGRAM``.

It is told to end by the end of its standard input, so that it outlives whoever started it by as
long as it takes to remove everything, however they ended. If it is killed itself, the kernel ends
the node's processes, and the next one removes the rest.
"""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.kubernetes import cgroups, configuration
from tests.kubernetes.binary import PARTS

PREFIX: Final = "mlr-kubernetes-"
_CHECKOUT: Final = Path(__file__).parents[2]


def main(program: Path) -> int:
    """Run a node until standard input ends or the node does; then nothing of it is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sweep(PREFIX)
    state = Path(tempfile.mkdtemp(prefix=PREFIX))
    with locked(state):
        for folder in ("bin", "log", "run"):
            (state / folder).mkdir()
        for part in PARTS:
            (state / "bin" / part).symlink_to(program)
        configuration.write(state)
        ended = _held(state)
        remove(state)
    return 1 if ended else 0


def _held(state: Path) -> bool:
    """Run the node's first process; tell whether it ended by itself."""
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork",
               "--mount-proc", "--kill-child", sys.executable, "-m", "tests.kubernetes.init",
               str(state)]  # fmt: skip
    with (state / "log" / "init.log").open("w") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 cwd=_CHECKOUT, start_new_session=True)  # fmt: skip
    alive = os.pidfd_open(child.pid)
    print(json.dumps({"state": str(state), "unshare": child.pid}), flush=True)
    ready, _, _ = select.select([sys.stdin, alive], [], [])
    ended = alive in ready
    if ended and sys.stdin not in ready:  # let them read the logs
        sys.stdin.read()
    child.kill()
    child.wait()
    os.close(alive)
    return ended


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Say for as long as the block lasts that the folder is in use."""
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove(state: Path) -> None:
    """Remove what was outside of its namespaces."""
    cgroups.remove(state.name)
    subprocess.run(["rm", "-rf", state], check=True)  # in half the time of Python's own


def sweep(prefix: str) -> None:
    """Remove what is left of those whose supervisor was killed."""
    for state in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        lock = state / "lock"
        if not lock.exists():
            continue
        with lock.open("w") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            remove(state)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
