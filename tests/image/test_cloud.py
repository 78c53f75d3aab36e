"""The flavour ``cloud``: its image on a cluster, and its packages beside a real S3 server."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT, RUNTIMES, mlruntime
from tests.go_programs import go_program

# Each takes minutes; CI has none of them to spare.
pytestmark = [pytest.mark.engine, pytest.mark.extra]

VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
READY_SECONDS = 30
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
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the address of a bucket on versitygw, compiled from its sources, and its login."""
    program, folder = go_program(VERSITYGW), tmp_path_factory.mktemp("versitygw")
    (folder / "data" / "bucket").mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    login = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16)}
    root = {"ROOT_ACCESS_KEY": "tests", "ROOT_SECRET_KEY": login["AWS_SECRET_ACCESS_KEY"]}
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [program, "--port", f"127.0.0.1:{port}", "posix", folder / "data"],
            env=os.environ | root, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/bucket", login
    finally:
        running.kill()
        running.wait()


def test_s3a_and_delta_lake_on_a_real_server(
    environment: Path, server: tuple[str, dict[str, str]]
) -> None:
    address, login = server
    checks = validated("--on", str(environment), "--s3", address, "--only", "cloud",
                       "--only", "static.jars", **login)  # fmt: skip
    assert statuses(checks, "failed") == set()
    assert statuses(checks, "not-run") == NEVER
    # Another login is refused: the server looks at it.
    wrong = validated("--on", str(environment), "--s3", address, "--only", "cloud.s3a",
                      **(login | {"AWS_SECRET_ACCESS_KEY": "other"}))  # fmt: skip
    assert statuses(wrong, "failed") == {"cloud.s3a"}


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
