"""What is released goes into the registries, and comes out by the tools, that people have.

The registries are Debian's docker-registry 2.8 and distribution 3, compiled from its sources. The
tools are Docker, Podman, containerd and skopeo; each runs what it has pulled, but the last.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlruntime.documents.oci import digest_of

from tests.conftest import RUNTIME, Runtime, mlruntime
from tests.go_programs import go_program
from tests.unit.registries import Registry, debian_registry
from tests.unit.release.helpers import answers, failed, release
from tests.unit.toys import candidate, new_key

pytestmark = [pytest.mark.extra, pytest.mark.engine]
DISTRIBUTION = "github.com/distribution/distribution/v3/cmd/registry@v3.0.0"
SCRIPT = "import pyspark, tensorflow; print('seen', pyspark.__version__)"
_READY_SECONDS = 30


@pytest.fixture(scope="module", params=["Debian's registry", "distribution 3"])
def program(request: pytest.FixtureRequest) -> str:
    if request.param == "distribution 3":
        return go_program(DISTRIBUTION)
    return "docker-registry"


@pytest.fixture(scope="module")
def pushed(
    ready: Callable[..., Runtime], program: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Runtime]]:
    """A registry with the real image, by its digest."""
    made = ready(RUNTIME)
    work = tmp_path_factory.mktemp("pushed")
    layout = work / "layout"
    mlruntime(made.root, "build", made.name, "--output", str(layout))
    with debian_registry(work, program=program) as address:
        target = f"docker://{address}/team/ml:1"
        run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}", target)
        yield f"{address}/team/ml@{made.built['digest']}", made
    shutil.rmtree(work)


def run(*words: str, **environ: str) -> str:
    done = subprocess.run(
        words, capture_output=True, text=True, env=os.environ | environ, timeout=600
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def test_a_release_goes_in_and_is_verified(program: str, tmp_path: Path) -> None:
    key, made = new_key(), candidate(tmp_path / "store")
    with debian_registry(tmp_path / "r", program=program) as address:
        there = Registry(address=address)
        for _ in range(2):
            assert release(there, made, key, tmp_path / "scratch") == "0.1.0-ml"
        found = answers(there, "0.1.0-ml-cpu", key)
    assert failed(found) == {} and found["documents"].status == "passed"


def test_docker_pulls_and_runs_it(pushed: tuple[str, Runtime]) -> None:
    reference, made = pushed
    try:
        assert made.built["digest"] in run("docker", "pull", reference)
        said = run("docker", "run", "--rm", "--network=none", reference, "python", "-c", SCRIPT)
        assert "seen 3.5" in said
    finally:
        subprocess.run(["docker", "rmi", reference], capture_output=True)


def test_podman_pulls_and_runs_it(pushed: tuple[str, Runtime]) -> None:
    if shutil.which("podman") is None:
        pytest.skip("needs Podman")
    reference, _ = pushed
    with tempfile.TemporaryDirectory(prefix="mlr-") as short:  # 50 characters are its limit
        podman = ["podman", f"--root={short}/root", f"--runroot={short}/run"]
        podman += ["--cgroup-manager=cgroupfs", "--events-backend=none"]
        try:
            run(*podman, "pull", "--tls-verify=false", reference)
            said = run(*podman, "run", "--rm", "--network=none", reference,
                       "python", "-c", SCRIPT)  # fmt: skip
            assert "seen 3.5" in said
        finally:
            subprocess.run([*podman, "system", "reset", "--force"], capture_output=True)


def test_containerd_pulls_and_runs_it(pushed: tuple[str, Runtime], tmp_path: Path) -> None:
    if shutil.which("containerd") is None:
        pytest.skip("needs containerd")
    reference, _ = pushed
    with containerd(tmp_path) as ctr:
        run(*ctr, "images", "pull", "--plain-http", reference)
        said = run(*ctr, "run", "--rm", reference, f"test-{os.getpid()}",
                   "/opt/entrypoint.sh", "python", "-c", SCRIPT)  # fmt: skip
        assert "seen 3.5" in said


def test_skopeo_gets_the_same_bytes(pushed: tuple[str, Runtime], tmp_path: Path) -> None:
    reference, made = pushed
    run("skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{reference}",
        f"oci:{tmp_path}/back:1")  # fmt: skip
    index = json.loads((tmp_path / "back/index.json").read_text())
    assert [m["digest"] for m in index["manifests"]] == [made.built["digest"]]
    blobs = tmp_path / "back/blobs/sha256"
    assert all(digest_of(path.read_bytes()) == f"sha256:{path.name}" for path in blobs.iterdir())


@contextmanager
def containerd(work: Path) -> Iterator[list[str]]:
    """Run a containerd of its own; yield the command that talks to it."""
    socket = work / "containerd.sock"
    config = work / "config.toml"
    config.write_text(
        f'version = 2\nroot = "{work}/root"\nstate = "{work}/state"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{socket}"\n'
    )
    with (work / "log").open("wb") as log:
        server = subprocess.Popen(["containerd", "--config", str(config)], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + _READY_SECONDS
            while not socket.exists():
                assert server.poll() is None and time.monotonic() < deadline, (
                    work / "log"
                ).read_text()
                time.sleep(0.1)
            yield ["ctr", "--address", str(socket), "--namespace", "tests"]
        finally:
            server.terminate()
            server.wait(30)
