"""The flavour ``cloud``: its image on a cluster, and its packages beside an S3 server."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT, RUNTIMES, mlruntime

# Each takes minutes; CI has none of them to spare.
pytestmark = [pytest.mark.engine, pytest.mark.extra]

# versitygw keeps folders as a file system does: S3A asks it again and again to delete full ones.
MOTO = "moto[server,s3]==5.2.5"
READY_SECONDS = 60
# What the locks leave out, and what a cluster of containers reaches no server for.
NEVER = {"cloud.kafka"}
ON_S3 = {"cloud.s3a", "cloud.delta_on_s3"}


def validated(*words: str, **environ: str) -> dict[str, dict[str, Any]]:
    """Return how each check ended."""
    command = [sys.executable, "-m", "mlruntime", "--root", str(CHECKOUT), "validate", *words]
    done = subprocess.run(
        [*command, "--json"], env=os.environ | environ, stdout=subprocess.PIPE, text=True
    )
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def statuses(checks: dict[str, dict[str, Any]], status: str) -> set[str]:
    return {name for name, check in checks.items() if check["status"] == status}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_image_on_a_cluster(runtime: str) -> None:
    mlruntime(CHECKOUT, "build", runtime, "--flavour", "cloud", "--load")
    checks = validated(runtime, "--flavour", "cloud", "--only", "cloud", "--only", "static",
                       "--only", "identity", "--only", "image")  # fmt: skip
    assert statuses(checks, "failed") == set()
    left_out = NEVER | ({"cloud.avro"} if runtime == "7.0-ml" else set())
    assert statuses(checks, "not-run") == left_out | ON_S3
    assert {"static.jars", "cloud.delta", "cloud.connectors"} <= statuses(checks, "passed")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment of the runtime that hosts with an older C library can have, too."""
    path = tmp_path_factory.mktemp("cloud") / "ml"
    mlruntime(CHECKOUT, "env", "create", "6.0-ml", str(path), "--flavour", "cloud")
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a bucket on moto's S3 server, from PyPI; any login is one there."""
    folder = tmp_path_factory.mktemp("moto")
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", MOTO], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [folder / "bin" / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + READY_SECONDS
        address = f"http://127.0.0.1:{port}/bucket"
        while True:
            try:
                urllib.request.urlopen(urllib.request.Request(address, method="PUT")).close()
                break
            except OSError:
                assert running.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
        yield address
    finally:
        running.kill()
        running.wait()


def test_s3a_and_delta_lake_on_a_server(environment: Path, server: str) -> None:
    login = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests"}
    words = ("--on", str(environment), "--only", "cloud", "--only", "static.jars")
    checks = validated(*words, "--s3", server, **login)
    assert statuses(checks, "failed") == set()
    assert statuses(checks, "not-run") == NEVER


def test_a_jar_that_is_missing_or_shadowed_is_found(environment: Path, tmp_path: Path) -> None:
    (jars,) = environment.glob("lib/python*/site-packages/pyspark/jars")
    (delta,) = jars.glob("delta-storage-*.jar")
    kept, shadow = tmp_path / delta.name, jars / "own-1.0.jar"
    shutil.move(delta, kept)
    try:
        checks = validated(
            "--on", str(environment), "--only", "static.jars", "--only", "cloud.delta"
        )
        assert statuses(checks, "failed") == {"static.jars", "cloud.delta"}
        assert f"{delta.name} is not there" in checks["static.jars"]["error"]
    finally:
        shutil.move(kept, delta)
    with zipfile.ZipFile(shadow, "w") as archive:
        archive.writestr("io/delta/storage/LogStore.class", b"another one")
    try:
        checks = validated("--on", str(environment), "--only", "static.jars")
        assert "own-1.0.jar both have io/delta/storage/LogStore" in checks["static.jars"]["error"]
    finally:
        shadow.unlink()
    assert statuses(validated("--on", str(environment), "--only", "static.jars"), "passed")
