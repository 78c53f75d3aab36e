"""What ``doctor`` says of engines that are not root's own on this host: rootless, elsewhere."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from mlruntime.doctor import findings as doctor
from mlruntime.doctor.findings import Finding, can_build
from mlruntime.engine.docker.connection import first_of
from mlruntime.engine.docker.endpoint import endpoints

from tests.unit.engine.test_endpoint import context, current
from tests.unit.stub_engine import StubEngine, classic, containerd, podman, rootless

# What `docker system dial-stdio` does on the engine's machine: a socket at the end of a pipe.
DIAL = """\
import os, socket, sys, threading
end = socket.socket(socket.AF_UNIX)
end.connect(sys.argv[1])
def up():
    while data := os.read(0, 65536):
        end.sendall(data)
    end.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := end.recv(65536):
    os.write(1, data)
"""


def said(environ: dict[str, str], home: Path) -> dict[str, Finding]:
    found = doctor.engine(lambda: first_of(endpoints(environ, home)))
    return {finding.name: finding for finding in found}


def test_a_rootless_engine_without_cgroups_and_overlays(tmp_path: Path) -> None:
    with StubEngine(tmp_path / "docker.sock", rootless()) as stub:
        found = said({"DOCKER_HOST": stub.host}, tmp_path)
    assert "rootless" in found["engine"].found
    assert found["engine limits"].found == "containers get no limit of memory and CPU time"
    assert "vfs" in found["engine storage"].found
    assert found["engine ports"].found.startswith("those from 1024 on")
    assert can_build(list(found.values()))


@pytest.mark.parametrize("answers", [classic(), podman()], ids=["docker", "podman"])
def test_an_engine_of_root_lacks_nothing(answers: dict[str, object], tmp_path: Path) -> None:
    with StubEngine(tmp_path / "docker.sock", answers) as stub:
        found = said({"DOCKER_HOST": stub.host}, tmp_path)
    assert found.keys() == {"engine", "memory", "engine disk"}


def test_a_rootless_engine_with_cgroups_is_told_of_its_ports_alone(tmp_path: Path) -> None:
    with StubEngine(tmp_path / "docker.sock", containerd()) as stub:
        found = said({"DOCKER_HOST": stub.host}, tmp_path)
    assert found.keys() == {"engine", "memory", "engine disk", "engine ports"}


def elsewhere(found: dict[str, Finding]) -> None:
    assert "reached over a network" in found["engine"].found
    assert found["engine disk"].status == "not-run"
    assert "at 127.0.0.1 of the engine's machine" in found["engine ports"].found


@pytest.mark.parametrize("named", ["DOCKER_HOST", "context"])
def test_an_engine_at_the_end_of_tcp(named: str, tmp_path: Path) -> None:
    with StubEngine(None, classic()) as stub:
        environ = {"DOCKER_HOST": stub.host}
        if named == "context":
            context(tmp_path, "far", stub.host)
            current(tmp_path, "far")
            environ = {}
        found = said(environ, tmp_path)
    elsewhere(found)
    assert f"at {stub.host} ({named}" in found["engine"].found


@pytest.mark.starts
def test_an_engine_at_the_end_of_ssh(tmp_path: Path) -> None:
    """``ssh`` is a stand-in that reaches the socket; who logs in where is in what it was told."""
    pytest.importorskip("paramiko", reason="the SDK speaks SSH with it: pip install docker[ssh]")
    dial, heard = tmp_path / "dial.py", tmp_path / "heard"
    dial.write_text(DIAL)
    words = shlex.join([sys.executable, str(dial), str(tmp_path / "docker.sock")])
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\necho "$@" >>{shlex.quote(str(heard))}\nexec {words}\n')
    ssh.chmod(0o755)
    environ = {"PATH": f"{ssh.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    # A process of its own: the SDK leaves its connections, each an ssh, to the end of it.
    verb = [sys.executable, "-m", "mlruntime", "doctor", "--json"]
    with StubEngine(tmp_path / "docker.sock", classic()):
        done = subprocess.run(
            verb, env=environ | {"DOCKER_HOST": "ssh://me@far"}, capture_output=True, check=False
        )
    listed = json.loads(done.stdout)["findings"]
    elsewhere({found["name"]: Finding(**found) for found in listed})
    assert "-l me -p 22 -- far docker system dial-stdio" in heard.read_text()
