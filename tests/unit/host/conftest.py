"""Hosts, indexes and authorities of the tests of this folder."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.host.machines import Authority, Machine
from tests.unit.servers import Server, serving


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv")


@pytest.fixture
def machine(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "home").mkdir()
    # What this machine's apt is told is no matter of these tests.
    config = tmp_path / "no-apt.conf"
    config.write_text('Dir::Etc::main "/dev/null";\nDir::Etc::parts "/dev/null";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    return Machine(tmp_path, cache)


@pytest.fixture
def index() -> Iterator[Server]:
    with serving(Server()) as server:
        server.project("thing", "1")
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("authority")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
           "-nodes", "-days", "30"]  # fmt: skip
    for words in (
        [*new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Our own authority"],
        [*new, "-keyout", "key.pem", "-out", "server.pem", "-subj", "/CN=127.0.0.1",
         "-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:FALSE"],
        [*new, "-keyout", "me.key", "-out", "me.crt", "-subj", "/CN=me",
         "-CA", "ca.pem", "-CAkey", "ca.key"],
    ):  # fmt: skip
        subprocess.run(words, cwd=folder, check=True, capture_output=True)
    both = (folder / "me.crt").read_text() + (folder / "me.key").read_text()
    (folder / "me.pem").write_text(both)
    (folder / "only").mkdir()
    shutil.copy(folder / "ca.pem", folder / "only" / "ca.pem")
    hashed = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", "ca.pem"], cwd=folder, check=True,
        capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    (folder / "hashed").mkdir()
    shutil.copy(folder / "ca.pem", folder / "hashed" / f"{hashed}.0")
    return Authority(folder)
