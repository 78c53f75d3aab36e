"""``kill -9`` at any moment: what is stored is whole, and the next run goes on.

The whole tool in a process of its own fetches, composes and writes a layout, loads it into an
engine, locks, or exports; the moments come from a seed. Five of them here, fifty with
``./dev test --all``.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from mlruntime.engine import connect
from mlruntime.image.layout import read_layout
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Variant
from mlruntime.store.contents import entries, is_damaged
from mlruntime.store.store import Store

from tests.unit.cli.test_cli_errors import LOCKED, L, artifact, lock, swap
from tests.unit.cli.test_cli_errors import root as root
from tests.unit.servers import Server, debian, serving

KILLS = 50 if os.environ.get("MLRUNTIME_TEST_PROFILE") == "all" else 5
JARS, SIZE = 6, 3 << 20
DEBIAN = (("apt", "2.6"), ("libc6", "2.36"), ("python3.11", "3.11.2"))


@pytest.fixture
def large(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Definitions whose image has some megabytes of jars, from a repository that is a directory."""
    swap(L, "layers:", "layers:\n  - {name: jars, source: jars, into: opt/jars}")(root)
    repository, chance, jars = tmp_path / "maven", random.Random(1), []
    for number in range(JARS):
        content = chance.randbytes(SIZE)
        name = f"toy{number}"
        path = repository / "g" / name / "1" / f"{name}-1.jar"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        jars.append(
            replace(
                artifact("jar", f"g:{name}", "1"),
                filename=path.name,
                size=SIZE,
                sha256=sha256(content).hexdigest(),
                origin="maven",
            )
        )
    (root / LOCKED).write_text(replace(lock(root), jars=tuple(jars)).to_json(), encoding="utf-8")
    monkeypatch.setenv("MLRUNTIME_MAVEN_REPOSITORY", repository.as_uri())
    return root


def words(root: Path, out: Path) -> list[str]:
    build = ["--root", str(root), "build", "0.1-ml", "--output", str(out), "--json"]
    return [sys.executable, "-m", "mlruntime", *build]


def built(root: Path, out: Path) -> Any:
    done = subprocess.run(words(root, out), stdout=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 0
    return json.loads(done.stdout)


def sound(store: Store, out: Path) -> None:
    """Nothing half-written bears its final name."""
    for entry in entries(store):
        assert entry.kind != "blobs" or not is_damaged(entry), entry.path
    if out.exists():
        read_layout(out)  # reads every byte


def killed(words: list[str], lasts: float, after: Callable[[], None]) -> None:
    """Run a command again and again, and kill it at some moment within ``lasts`` seconds."""
    moments, killed = random.Random(2), 0
    for _ in range(KILLS):
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tool:
            try:
                tool.wait(moments.uniform(0, lasts))
            except subprocess.TimeoutExpired:
                tool.send_signal(signal.SIGKILL)
                killed += 1
        after()
    assert killed, "not one was killed"


@pytest.mark.starts
def test_a_build_can_be_killed_at_any_moment(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "reference"))
    before = time.monotonic()
    wanted = built(large, tmp_path / "whole")["digest"]
    lasted = time.monotonic() - before
    monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "store"))
    store, out = Store(tmp_path / "store"), tmp_path / "out"
    killed(words(large, out), lasted, lambda: sound(store, out))
    assert built(large, out)["digest"] == wanted
    sound(store, out)
    assert not [entry for entry in entries(store) if entry.kind == "partial"]
    assert not list((tmp_path / "store" / "tmp").iterdir())
    assert not list(out.rglob(".mlruntime-*")), "what a killed run left in the layout goes, too"


@pytest.mark.starts
def test_an_export_and_its_downloads_can_be_killed_at_any_moment(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come over HTTP, and go on where they stopped."""
    found = lock(large)
    plain = replace(
        found, python=(), variants=(Variant(name="cpu", python=(), native=()),),
        jars=parse_lock((large / LOCKED).read_text(), file=LOCKED).jars,
    )  # fmt: skip
    (large / LOCKED).write_text(plain.to_json(), encoding="utf-8")
    repository = Server()
    for path in (tmp_path / "maven").rglob("*.jar"):
        repository.put(f"/{path.relative_to(tmp_path / 'maven')}", path.read_bytes())
    out, store = tmp_path / "out", Store(tmp_path / "store")
    command = [sys.executable, "-m", "mlruntime", "--root", str(large)]
    command += ["store", "export", "0.1-ml", "--output", str(out)]

    def whole() -> None:
        sound(store, tmp_path / "none")
        if out.exists():
            assert len(list((out / "blobs" / "sha256").iterdir())) == JARS
            shutil.rmtree(out)

    with serving(repository) as server:
        monkeypatch.setenv("MLRUNTIME_MAVEN_REPOSITORY", server.url)
        monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "reference"))
        before = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
        lasted = time.monotonic() - before
        shutil.rmtree(out)
        monkeypatch.setenv("MLRUNTIME_STORE", str(store.root))
        killed(command, lasted, whole)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
    whole()
    assert not [entry for entry in entries(store) if entry.kind == "partial"]
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.starts
def test_a_lock_can_be_killed_at_any_moment(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """apt and uv ask registries of this machine; the file is the old one or the new one."""
    path = root / LOCKED
    old = path.read_text(encoding="utf-8")
    command = [sys.executable, "-m", "mlruntime", "--root", str(root), "lock", "0.1-ml"]
    states = set()

    def old_or_new() -> None:
        text = path.read_text(encoding="utf-8")
        assert text in (old, new)
        states.add(text)
        path.write_text(old, encoding="utf-8")

    with serving(Server()) as server:
        server.project("pyspark", "3.5.8")
        packages = "".join(
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody\n"
            f"Filename: pool/main/{name}_{version}_amd64.deb\nSize: 7\nSHA256: {number:064x}\n"
            "Priority: required\nDescription: x\n\n"
            for number, (name, version) in enumerate(DEBIAN)
        )
        debian(server, packages.encode())
        archives = tmp_path / "archives.sources"
        archives.write_text(
            f"Types: deb\nURIs: {server.url}/debian\nSuites: bookworm\nComponents: main\n"
            "Trusted: yes\n"
        )
        monkeypatch.setenv("MLRUNTIME_DEBIAN_SOURCES", str(archives))
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{server.url}/simple")
        before = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
        lasted = time.monotonic() - before
        new = path.read_text(encoding="utf-8")
        assert new != old
        path.write_text(old, encoding="utf-8")
        killed(command, lasted, old_or_new)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
    assert path.read_text(encoding="utf-8") == new
    assert {p.name for p in path.parent.iterdir()} == {"lock.json", "runtime.yaml"}
    assert not list((tmp_path / "store" / "tmp").iterdir())


@pytest.mark.engine
def test_loading_into_an_engine_can_be_killed_at_any_moment(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine has the whole image by its name, or nothing by that name."""
    monkeypatch.delenv("DOCKER_HOST")  # none, in these definitions
    name = "mlruntime/0.1-ml:cpu"
    command = [sys.executable, "-m", "mlruntime", "--root", str(large)]
    command += ["build", "0.1-ml", "--load"]
    with connect() as engine:

        def whole_or_absent() -> None:
            if (image := engine.image(name)) is not None:
                assert image.diff_ids == wanted.diff_ids
                engine.remove_image(name)

        try:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
            wanted = engine.image(name)
            assert wanted is not None
            engine.remove_image(name)
            before = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
            lasted = time.monotonic() - before
            engine.remove_image(name)
            killed(command, lasted, whole_or_absent)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
            again = engine.image(name)
            assert again is not None
            assert again.id == wanted.id
        finally:
            if engine.image(name) is not None:
                engine.remove_image(name)
    sound(Store(tmp_path / "store"), tmp_path / "none")
