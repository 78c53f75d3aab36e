"""``kill -9`` at any moment: what is stored is whole, and the next run goes on.

The whole tool in a process of its own fetches, composes and writes a layout; the moments come from
a seed. Five of them here, fifty with ``./dev test --all``.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from mlruntime.image.layout import read_layout
from mlruntime.store.contents import entries, is_damaged
from mlruntime.store.store import Store

from tests.unit.test_cli_errors import LOCKED, L, artifact, lock, swap
from tests.unit.test_cli_errors import root as root

KILLS = 50 if os.environ.get("MLRUNTIME_TEST_PROFILE") == "all" else 5
JARS, SIZE = 6, 3 << 20


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
    moments, killed = random.Random(2), 0
    for _ in range(KILLS):
        with subprocess.Popen(
            words(large, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as tool:
            try:
                tool.wait(moments.uniform(0, lasted))
            except subprocess.TimeoutExpired:
                tool.send_signal(signal.SIGKILL)
                killed += 1
        sound(store, out)
    assert killed, "not one was killed"
    assert built(large, out)["digest"] == wanted
    sound(store, out)
    assert not [entry for entry in entries(store) if entry.kind == "partial"]
    assert not list((tmp_path / "store" / "tmp").iterdir())
    leftover = [p.name for p in tmp_path.iterdir() if p.name.startswith(".out")]
    assert not leftover, "what a killed run left beside the layout is removed by the next one"
