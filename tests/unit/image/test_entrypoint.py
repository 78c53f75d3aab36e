"""The image's entry point, run on this host: a worker waits for its master."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

ENTRYPOINT = CHECKOUT / "images/rootfs/settings/opt/entrypoint.sh"
# Stands for Spark: says which master it finds at the moment of its start.
SPARK = """#!{python}
import socket, sys
for master in sys.argv[-1].removeprefix("spark://").split(","):
    host, _, port = master.rpartition(":")
    with socket.socket() as probe:
        print(*sys.argv[1:-1], "found" if probe.connect_ex((host, int(port))) == 0 else "none")
"""
# Ten seconds are long for a test.
TIMEOUT = """#!/bin/sh
[ "$1" = 10 ] || exit 99
shift
exec {timeout} 0.5 "$@"
"""
Started = Callable[..., "subprocess.Popen[str]"]
pytestmark = [
    pytest.mark.starts,
    pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed"),
]


@pytest.fixture
def started(tmp_path: Path) -> Started:
    """Return what starts a role as a container does, with its variables."""
    (tmp_path / "bin").mkdir()

    def program(name: str, text: str) -> None:
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    program("spark-class", SPARK.format(python=sys.executable))

    def start(*words: str, hurried: bool = False, **environ: str) -> "subprocess.Popen[str]":
        if hurried:
            program("timeout", TIMEOUT.format(timeout=shutil.which("timeout")))
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        return subprocess.Popen(
            ["sh", ENTRYPOINT, *words], cwd=tmp_path, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            env={"PATH": path, "HOME": str(tmp_path), **environ},
        )  # fmt: skip

    return start


@pytest.mark.parametrize("form", ["argument", "variable", "second of two"])
def test_a_worker_starts_once_its_master_listens(started: Started, form: str) -> None:
    with socket.socket() as master, socket.socket() as nobody:
        master.bind(("127.0.0.1", 0))  # and does not listen yet
        nobody.bind(("127.0.0.1", 0))
        here = f"127.0.0.1:{master.getsockname()[1]}"
        other = f"127.0.0.1:{nobody.getsockname()[1]}"
        url = f"spark://{other},{here}" if form == "second of two" else f"spark://{here}"
        worker = (
            started("worker", SPARK_MASTER_URL=url)
            if form == "variable"
            else started("worker", "--cores", "2", url)
        )
        time.sleep(0.5)
        assert worker.poll() is None
        master.listen()
        out, err = worker.communicate(timeout=60)
    assert worker.returncode == 0, err
    assert out.splitlines()[-1].endswith(" found")
    assert "org.apache.spark.deploy.worker.Worker" in out
    assert "no master" not in err


def test_a_master_that_does_not_come_is_not_waited_for_long(started: Started) -> None:
    """Spark asks for it again and again, and ends the worker itself some time."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        here = f"127.0.0.1:{nobody.getsockname()[1]}"
        worker = started("worker", f"spark://{here}", hurried=True)
        out, err = worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert out == "org.apache.spark.deploy.worker.Worker none\n"
    assert f"mlruntime: worker: no master listens at {here} so far\n" in err
