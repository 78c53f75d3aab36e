"""The node itself: whoever starts it, and however they end, nothing of it is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.kubernetes import cgroups, supervisor
from tests.kubernetes.node import Node

pytestmark = [pytest.mark.cluster, pytest.mark.kubernetes, pytest.mark.extra]

# Starts a node, says where it is, and stays.
_STARTER = """
import time
from tests.kubernetes.node import must_be_able, node
with node(must_be_able()) as made:
    print(made.state, made.pid, flush=True)
    time.sleep(600)
"""


def _await(what: str, there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not there():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def _processes(state: Path) -> list[str]:
    """Return the command lines in which a node's folder is named."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(state) in words:
            found.append(words)
    return found


def _mounts(state: Path) -> list[str]:
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(state) in line]


@pytest.fixture
def started(kubernetes: Node) -> tuple["subprocess.Popen[str]", Path]:
    """Return a process that has started another node, and the node's folder."""
    assert kubernetes.state.is_dir()  # skipped where there can be none
    process = subprocess.Popen([sys.executable, "-c", _STARTER], stdout=subprocess.PIPE, text=True,
                               cwd=CHECKOUT)  # fmt: skip
    assert process.stdout is not None
    state = Path(process.stdout.readline().split()[0])
    assert _processes(state) and cgroups.named(state.name)
    return process, state


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_node_whose_starter_ends(
    started: tuple["subprocess.Popen[str]", Path], number: signal.Signals
) -> None:
    process, state = started
    with process:
        process.send_signal(number)
    _await(f"{state} is still there", lambda: not state.exists())
    assert not _processes(state)
    assert not cgroups.named(state.name)
    assert not _mounts(state)


def test_what_a_killed_supervisor_leaves_is_removed_by_the_next(
    started: tuple["subprocess.Popen[str]", Path],
) -> None:
    process, state = started
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    with process:
        os.kill(int(children[0]), signal.SIGKILL)
        _await("the node's processes are still there", lambda: not _processes(state))
        process.kill()
    assert state.exists()
    supervisor.sweep(supervisor.PREFIX)
    assert not state.exists()
    assert not cgroups.named(state.name)


def test_this_machine_s_settings_and_folders_stay_as_they_are(kubernetes: Node) -> None:
    """A kubelet sets these for the whole machine, and makes folders of its own."""
    assert kubernetes.state.is_dir()
    inside = subprocess.run(
        ["nsenter", "--mount", "--target", str(kubernetes.pid), "cat", "/proc/sys/kernel/panic"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert inside == "10"
    assert not _mounts(kubernetes.state)
    folders = (
        "/var/log/containers",
        "/var/log/pods",
        "/var/lib/kubelet",
        "/usr/libexec/kubernetes",
    )
    assert not [folder for folder in folders if Path(folder).exists()]
