"""What is made or changed while it is killed at any step, and by two at once."""

import filecmp
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.definitions.files import Definitions
from mlruntime.environment.creation import Order, create
from mlruntime.environment.description import read_description, read_files, read_lock_of
from mlruntime.environment.interpreter import Interpreter
from mlruntime.environment.linking import Linker
from mlruntime.environment.packing import extract, pack
from mlruntime.environment.repairing import change, remove
from mlruntime.environment.unpack import fill_in
from mlruntime.environment.using import changing, reading
from mlruntime.environment.verification import differences
from mlruntime.errors import UsageError
from mlruntime.workflows.environment import managing
from mlruntime.workflows.environment.managing import (
    prepare,
    repair_environment,
    unpack_environment,
)
from mlruntime.workflows.planning import planned_image
from msgspec import structs

from tests.unit.environment.test_environment import FILES, PYTHON, SITE, World, below
from tests.unit.killing import steps
from tests.unit.wheels import made_wheel

# Of the same size as the world's, and with the same date.
TOY = {"toy.py": "answer = 43\ndef main(): print(answer)\n"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


@pytest.fixture
def definitions(tmp_path: Path) -> Definitions:
    for path, content in FILES.items():
        file = tmp_path / "definitions" / "images" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return Definitions(tmp_path / "definitions")


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this Python found, whatever a runtime's is."""
    found = Interpreter(executable=Path(sys.executable).resolve(), version=PYTHON)
    monkeypatch.setattr(managing, "find_interpreter", lambda *_, **__: found)


def wheel(world: World, folder: str, name: str, files: dict[str, str]) -> None:
    """Put a wheel into the world's lock, in the place of one of the same name."""
    (world.folder / folder).mkdir(exist_ok=True)
    path = made_wheel(world.folder / folder, name, files)
    artifact = World.artifact_of("wheel", "pypi", path)
    world.registry[artifact.sha256] = path
    world.wheels = (*(w for w in world.wheels if w.name != name), artifact)


def order(world: World, definitions: Definitions, root: Path) -> Order:
    plan = planned_image(definitions, world.lock, "cpu")
    made = world.order(root, prepare(plan, world.lock, world.host, root))
    interpreter = str(made.interpreter.executable)
    return replace(made, description=structs.replace(made.description, interpreter=interpreter))


def contents_of(root: Path) -> dict[str, bytes]:
    """Return what an environment is, but for what says where its Python is."""
    return {
        path: b"" if (root / path).is_symlink() else (root / path).read_bytes()
        for path in below(root)
    }


@pytest.fixture
def orders(world: World, definitions: Definitions, tmp_path: Path) -> tuple[Order, Order]:
    """Return an environment's order, and another: one package gone, one changed, one new."""
    root, everything = tmp_path / "ml", world.wheels
    # Of one size and, like all files, of one date.
    wheel(world, "old", "toy", {**TOY, "toy/version.py": "1.2.3"})
    wheel(world, "old", "gone", {"gone/__init__.py": "", "gone/part.py": "", "place": "a file"})
    before = order(world, definitions, root)
    world.wheels = everything
    wheel(world, "new", "toy", {**TOY, "toy/version.py": "1.2.4"})
    wheel(world, "new", "fresh", {"fresh/part.py": "x = 1\n", "place/part.py": "a directory\n"})
    return before, order(world, definitions, root)


def test_a_change_that_is_killed_anywhere_is_seen_and_finished(
    world: World, definitions: Definitions, orders: tuple[Order, Order], tmp_path: Path
) -> None:
    root, saved, halfway = tmp_path / "ml", tmp_path / "saved", tmp_path / "halfway"
    before, after = orders
    create(before, root, Linker())
    made, ways = {}, set()
    for one in (after, before):
        change(root, one, Linker())
        made[one.description.lock] = contents_of(root)
    shutil.copytree(root, saved, symlinks=True)
    for step in steps(lambda: change(root, after, Linker()), root):
        if not differences(root, read_files(root)).damaged:
            assert contents_of(root).items() <= made[read_lock_of(root).digest].items(), step
        shutil.copytree(root, halfway, symlinks=True)
        for goal in (after, before):
            change(root, goal, Linker())
            assert contents_of(root) == made[goal.description.lock], step
            shutil.rmtree(root)
            shutil.copytree(halfway, root, symlinks=True)
        shutil.rmtree(halfway)
        repair_environment(definitions, root, world.host, {})
        lock = read_lock_of(root).digest
        assert read_description(root).lock == lock
        assert contents_of(root) == made[lock], step
        ways.add(lock)
        shutil.rmtree(root)
        shutil.copytree(saved, root, symlinks=True)
    assert contents_of(root) == made[after.description.lock]
    assert ways == {before.description.lock, after.description.lock}


def test_a_package_that_is_gone_cannot_be_imported(
    world: World, orders: tuple[Order, Order], tmp_path: Path
) -> None:
    root = tmp_path / "ml"
    create(orders[0], root, Linker())
    for name in ("__init__", "part"):
        compiled = root / SITE / "gone" / "__pycache__" / f"{name}.cpython-311.pyc"
        compiled.parent.mkdir(exist_ok=True)
        compiled.write_bytes(b"")
    change(root, orders[1], Linker())
    assert not (root / SITE / "gone").exists()
    assert (root / SITE / "toy.py").read_text() == TOY["toy.py"]
    assert world.said == []


def whole_or_none(root: Path) -> bool:
    return not root.exists() or not differences(root, read_files(root)).damaged


def test_what_is_made_or_packed_or_unpacked_and_killed_is_there_whole_or_not(
    world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    root, archive, other = folder / "ml", folder / "ml.tar", folder / "other"
    found = world.prepared()
    for step in steps(lambda: world.create(root, found=found), folder):
        assert whole_or_none(root), step
    assert {path.name for path in folder.iterdir()} == {"ml"}
    pack(root, tmp_path / "ml.tar")
    for step in steps(lambda: pack(root, archive), folder):
        assert not archive.exists() or filecmp.cmp(archive, tmp_path / "ml.tar", False), step
    assert {path.name for path in folder.iterdir()} == {"ml", "ml.tar"}
    for step in steps(lambda: unpack_environment(archive, other, world.host, {}), folder):
        assert whole_or_none(other), step
        shutil.rmtree(other, ignore_errors=True)
    assert {path.name for path in folder.iterdir()} == {"ml", "ml.tar", "other"}
    assert below(other) == below(root)


def test_unpacking_without_mlruntime_that_is_killed_can_be_run_again(
    world: World, tmp_path: Path
) -> None:
    world.create(tmp_path / "ml")
    pack(tmp_path / "ml", tmp_path / "ml.tar")
    root = extract(tmp_path / "ml.tar", tmp_path / "a")
    fill_in(root)
    wanted = contents_of(root)
    for step in steps(lambda: fill_in(root), root):
        fill_in(root)
        assert contents_of(root) == wanted, step


def waited(root: Path) -> Iterator[list[str]]:
    """Have another thread want an environment until it has told that it waits."""
    told = threading.Event()
    said: list[str] = []
    outcomes: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        told.set()

    def second() -> None:
        try:
            with changing(root, say):
                outcomes.append(read_description(root).runtime)
        except UsageError as error:
            outcomes.append(error.what)

    thread = threading.Thread(target=second)
    thread.start()
    assert told.wait(60)
    assert (said, outcomes) == ([f"waiting for another mlruntime, which has {root}/.mlruntime"], [])
    yield outcomes
    thread.join(60)
    yield outcomes


def test_of_two_changes_at_once_one_waits(world: World, tmp_path: Path) -> None:
    root = tmp_path / "ml"
    world.create(root)
    with changing(root, world.said.append):
        other = waited(root)
        next(other)
    assert next(other) == ["9.0-ml"]
    assert world.said == []


def test_who_waits_for_an_environment_that_is_removed_is_told(world: World, tmp_path: Path) -> None:
    root = tmp_path / "ml"
    world.create(root)
    with changing(root, world.said.append):
        other = waited(root)
        next(other)
        remove(root, ())
    assert next(other) == ["there is no environment here"]


def test_several_may_read_at_once_and_nobody_changes_it_meanwhile(
    world: World, tmp_path: Path
) -> None:
    root = tmp_path / "ml"
    world.create(root)
    with reading(root, world.said.append), reading(root, world.said.append):
        other = waited(root)
        next(other)
    assert next(other) == ["9.0-ml"]
