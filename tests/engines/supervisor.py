"""Holds an engine: ``python -m tests.engines.supervisor KIND``.

As the one of ``tests.kubernetes``: the end of its standard input tells it to end, however those
ended who started it.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.kubernetes.supervisor import locked, remove, sweep

PREFIX: Final = "mlr-engine-"
_CHECKOUT: Final = Path(__file__).parents[2]


def main(kind: str) -> None:
    """Run an engine until standard input ends or the engine does; then nothing of it is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sweep(PREFIX)
    state = Path(tempfile.mkdtemp(prefix=PREFIX))
    with locked(state):
        _hold(state, kind)
        remove(state)


def _hold(state: Path, kind: str) -> None:
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork",
               "--mount-proc", "--kill-child", sys.executable, "-m", "tests.engines.init",
               str(state), kind]  # fmt: skip
    with (state / "log").open("w") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 cwd=_CHECKOUT, start_new_session=True)  # fmt: skip
    alive = os.pidfd_open(child.pid)
    print(json.dumps({"state": str(state), "unshare": child.pid}), flush=True)
    ready, _, _ = select.select([sys.stdin, alive], [], [])
    if sys.stdin not in ready:  # the engine ended: let them read the log
        sys.stdin.read()
    child.kill()
    child.wait()
    os.close(alive)


if __name__ == "__main__":
    main(sys.argv[1])
