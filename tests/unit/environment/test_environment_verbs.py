"""The verbs of ``env`` from one end to the other: a definitions folder, a store, no network."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cli import main
from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.native.inputs import load_recipes
from mlruntime.lock.model import Lock
from mlruntime.lock.parts import Flavour
from mlruntime.locking.staleness import input_digests
from mlruntime.workflows.locked import lock_request

from tests.unit.environment.test_environment import FILES, PYTHON, SITE, World
from tests.unit.wheels import made_wheel

MATRIX = f"""\
components:
  debian: {{title: Debian, summary: x, releases: ["12"]}}
  python:
    title: Python
    summary: x
    releases: ["{PYTHON}.0"]
    artifacts: [{{origin: debian, name: "python{{python.minor}}"}}]
preference: [python, debian]
rules: []
"""
RUNTIME = """\
runtime: 9.0-ml
summary: x
snapshot: 2026-01-01T00:00:00Z
variants: [cpu]
request: {debian: "*", python: "*"}
"""
CONSTRAINTS = "images/rootfs/constraints/opt/ml/constraints.txt.j2"


class Place:
    """Definitions with a lock of the toys, and a requirements file that is locked beside it."""

    def __init__(self, folder: Path) -> None:
        self.world, self.root = World(folder / "world"), folder / "definitions"
        self.environment, self.requirements = folder / "it's ml", folder / "ours.txt"
        files = {f"images/{name}": content for name, content in FILES.items()}
        files |= {"matrix.yaml": MATRIX.encode(), "runtimes/9.0-ml/runtime.yaml": RUNTIME.encode()}
        files[CONSTRAINTS] = b"# {{ runtime }}\n"
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        lock = self.lock
        (self.root / "runtimes/9.0-ml/lock.json").write_text(lock.to_json())
        self.requirements.write_text("fresh\n")
        beside = self.requirements.with_name("ours.9.0-ml.lock.json")
        beside.write_text(self.with_fresh(lock).to_json())
        self.world.fetch((*lock.os, *lock.python, *lock.jars, *self.added))

    @property
    def lock(self) -> Lock:
        request = lock_request(Definitions(self.root), "9.0-ml")
        return replace(
            self.world.lock,
            inputs=input_digests(request, load_recipes(self.root / "images")),
            components=(("debian", "12"), ("python", f"{PYTHON}.0")),
        )

    def with_fresh(self, lock: Lock) -> Lock:
        path = made_wheel(self.world.folder, "fresh", {"fresh.py": "def main(): print('fresh')\n"})
        artifact = World.artifact_of("wheel", "pypi", path)
        self.world.registry[artifact.sha256] = path
        self.added = (artifact,)
        added = Flavour(
            name="ours",
            request="sha256:1",
            components=(),
            omitted=(),
            python=self.added,
            jars=(),
            variants=(),
            requirements=("fresh",),
        )
        return replace(lock, flavours=(added,))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path)
    monkeypatch.setenv("MLRUNTIME_STORE", str(place.world.store.root))
    return place


def said(place: Place, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Return the JSON that a verb of `env` prints, having ended well."""
    code = main(["--root", str(place.root), "env", *words, "--json"])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return json.loads(shown.out)


def imports(root: Path, name: str) -> bool:
    words = [str(root / "bin" / "python"), "-c", f"import {name}"]
    environ = {"PATH": "/usr/bin:/bin"}  # without what keeps Python from writing bytecode
    return subprocess.run(words, env=environ, capture_output=True).returncode == 0


@pytest.mark.starts
def test_packages_are_added_and_removed_in_their_place(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(place.environment)
    made = said(place, capsys, "create", "9.0-ml", root, "--python", sys.executable)
    assert not imports(place.environment, "fresh")
    synced = said(place, capsys, "sync", root, "--with", str(place.requirements))
    assert synced["added"] == ["fresh"]
    assert synced["lock_digest"] != made["lock_digest"]
    assert imports(place.environment, "fresh") and imports(place.environment, "toy")
    compiled = place.environment / SITE / "__pycache__"
    assert list(compiled.glob("fresh.*"))
    checked = said(place, capsys, "verify", root)
    assert (checked["changed"], checked["removed"], checked["added"]) == ([], [], [])
    assert checked["lock_digest"] == synced["lock_digest"]
    emptied = said(place, capsys, "sync", root)
    assert (emptied["added"], emptied["lock_digest"]) == ([], made["lock_digest"])
    assert not imports(place.environment, "fresh") and imports(place.environment, "toy")
    assert not list(compiled.glob("fresh.*"))
    assert said(place, capsys, "repair", root) == {"path": root, "repaired": []}
    listed = said(place, capsys, "list")["environments"]
    assert [(one["path"], one["runtime"]) for one in listed] == [(root, "9.0-ml")]
    said(place, capsys, "remove", root)
    assert said(place, capsys, "list") == {"environments": []}


@pytest.mark.starts
def test_an_environment_of_another_lock_is_left_alone(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(place.environment)
    said(place, capsys, "create", "9.0-ml", root, "--python", sys.executable)
    place.world.wheels = place.world.wheels[1:]
    (place.root / "runtimes/9.0-ml/lock.json").write_text(place.lock.to_json())
    before = {path: path.lstat().st_mtime_ns for path in place.environment.rglob("*")}
    assert main(["--root", str(place.root), "env", "sync", root]) == 4
    assert "has another lock than when this environment was made" in capsys.readouterr().err
    after = {path: path.lstat().st_mtime_ns for path in place.environment.rglob("*")}
    assert before == after
