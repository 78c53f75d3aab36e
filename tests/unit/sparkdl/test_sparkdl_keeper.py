"""The keeper: a process that forks ranks, and must outlive each of them and whoever asked."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.unit.sparkdl_library import LIBRARY, load

keeper = load("_keeper")

# The kernel tells of events in any order. Here all that happen in half a second come together, the
# end of a rank first.
SCRIPT = """
import selectors, time
from sparkdl import _keeper

class EndsFirst(selectors.DefaultSelector):
    def select(self, timeout=None):
        if not super().select(timeout):
            return []
        time.sleep(0.5)
        return sorted(super().select(0), key=lambda event: event[0].data.__name__ != "_reap")

_keeper.selectors.DefaultSelector = EndsFirst
_keeper.main()
"""


@pytest.fixture
def name() -> str:
    """Start a keeper that waits a few seconds for a rank, and return its name."""
    name = uuid.uuid4().hex
    command = [sys.executable, "-c", SCRIPT, name, "5", keeper.owner(os.getpid())]
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY)}
    subprocess.run(command, env=environment, check=True, timeout=60)  # the keeper is its child
    return name


def parent_of(pid: int) -> int:
    """Return the process that forked another one."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])


def rank(name: str, folder: Path) -> tuple[socket.socket, socket.socket, int]:
    """Ask for a rank; return the connection, the rank's channel, and its process."""
    asking = socket.socket(socket.AF_UNIX)
    asking.settimeout(60)
    asking.connect(keeper.address_of(name))
    ours, channel = socket.socketpair()
    request = {
        "preload": [],
        "environ": {},
        "path": [str(LIBRARY)],
        "cwd": str(folder),
        "import_timeout": 60,
    }
    with (folder / "output").open("ab") as output, channel:
        descriptors = [output.fileno(), channel.fileno(), output.fileno()]
        keeper.send_request(asking, request, descriptors)
        answers = map(json.loads, asking.makefile())
        pid = next(answer["pid"] for answer in answers if "pid" in answer)
    return asking, ours, pid


@pytest.mark.starts
def test_it_outlives_a_rank_and_its_task_that_end_at_once(name: str, tmp_path: Path) -> None:
    asking, channel, pid = rank(name, tmp_path)
    process = parent_of(pid)
    os.kill(pid, signal.SIGKILL)
    asking.close()
    channel.close()
    again, channel, other = rank(name, tmp_path)
    assert other != pid
    assert parent_of(other) == process
    again.close()
    channel.close()
