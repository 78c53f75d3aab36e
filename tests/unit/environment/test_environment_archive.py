"""An environment as an archive: unpacked where there is no mlruntime, and where there is one."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from mlruntime.environment import packing
from mlruntime.environment.description import read_description, read_files
from mlruntime.environment.interpreter import Interpreter
from mlruntime.environment.packing import pack, refuse_archive
from mlruntime.environment.verification import differences
from mlruntime.errors import HashMismatch, InvalidLock, MlruntimeError, UsageError
from mlruntime.workflows.environment import managing
from mlruntime.workflows.environment.managing import unpack_environment

from tests.unit.environment.test_environment import PYTHON, SITE, World, below

HERE = {"PATH": "/usr/bin:/bin"}
SCRIPT = Path(packing.__file__).parent / "unpack.sh"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


@pytest.fixture
def archive(world: World, tmp_path: Path) -> Path:
    """Pack an environment with something of its user's, and take away where it came from."""
    root = tmp_path / "it's mine"
    world.create(root)
    (root / "thesis.txt").write_text("years of work")
    (root / SITE / "__pycache__").mkdir()
    (root / SITE / "__pycache__" / "toy.pyc").write_bytes(b"")
    path = tmp_path / "ml.tar.gz"
    assert pack(root, path) == path.stat().st_size
    shutil.rmtree(root)
    return path


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Interpreter:
    """Have this Python found, whatever a runtime's is."""
    found = Interpreter(executable=Path(sys.executable).resolve(), version=f"{PYTHON}.0")
    monkeypatch.setattr(managing, "find_interpreter", lambda *_, **__: found)
    return found


def extracted(archive: Path, folder: Path) -> Path:
    folder.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "ml"


def run(root: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["/bin/sh", str(root / "unpack.sh"), *words], env=HERE, capture_output=True, text=True
    )


@pytest.mark.starts
@pytest.mark.parametrize("folder", ["plain", "with space", "it's ünï $HOME"])
def test_it_makes_itself_at_home_without_mlruntime(
    archive: Path, tmp_path: Path, folder: str
) -> None:
    root = extracted(archive, tmp_path / folder)
    done = run(root, sys.executable)
    assert done.returncode == 0, done.stderr
    assert "is ready" in done.stdout
    assert (root / "thesis.txt").read_text() == "years of work"
    program = '. "$1"; toy; python -c "import sys; print(sys.prefix)"; echo "$SPARK_HOME"'
    words = ["/bin/sh", "-c", program, "sh", str(root / "bin" / "activate")]
    said = subprocess.run(words, env=HERE, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["42", str(root), f"{root}/opt/spark"]
    assert differences(root, read_files(root)).damaged == ()
    assert read_description(root).path == str(root)


@pytest.mark.starts
def test_moved_it_makes_itself_at_home_again(archive: Path, tmp_path: Path) -> None:
    root = extracted(archive, tmp_path / "a")
    assert run(root, sys.executable).returncode == 0
    moved = root.rename(tmp_path / "moved")
    assert run(moved, sys.executable).returncode == 0
    assert str(tmp_path / "a") not in (moved / "bin" / "activate").read_text()


@pytest.mark.starts
@pytest.mark.parametrize(
    ("needs", "what"),
    [
        ({"GLIBC": "99.1"}, "what is here needs 99.1 or newer"),
        ({"PYTHON": "9.9"}, "there is no complete CPython 9.9 on this host"),
    ],
)
def test_a_host_that_cannot_run_it_is_told(
    archive: Path, tmp_path: Path, needs: dict[str, str], what: str
) -> None:
    root = extracted(archive, tmp_path / "a")
    text = {"GLIBC": "2.17", "PYTHON": PYTHON} | needs
    lines = "".join(f"NEEDS_{name}={value}\n" for name, value in text.items())
    (root / ".mlruntime" / "needs").write_text(lines)
    done = run(root)
    assert done.returncode == 6
    assert what in done.stderr and "try: " in done.stderr
    assert not (root / "bin" / "python").exists()


@pytest.mark.starts
def test_a_file_that_is_another_one_is_told(archive: Path, tmp_path: Path) -> None:
    root = extracted(archive, tmp_path / "a")
    (root / SITE / "toy.py").write_text("answer = 43\n")
    done = run(root, sys.executable)
    assert done.returncode == 5
    assert f"not what was packed: {SITE}/toy.py" in done.stderr


def test_the_verb_gives_the_same(
    archive: Path, world: World, tmp_path: Path, interpreter: Interpreter
) -> None:
    target = tmp_path / "new" / "ünï"
    made = unpack_environment(archive, target, world.host, HERE)
    assert made.interpreter == str(interpreter.executable)
    assert differences(target, read_files(target)).damaged == ()
    assert not (target / "unpack.sh").exists()
    world.create(tmp_path / "fresh")
    assert below(target) == below(tmp_path / "fresh") | {"thesis.txt"}
    assert str(target) in (target / "bin" / "activate").read_text()


def test_the_same_environment_gives_the_same_archive(world: World, tmp_path: Path) -> None:
    world.create(tmp_path / "a")
    pack(tmp_path / "a", tmp_path / "ml.tar")
    (tmp_path / "other").mkdir()
    pack(tmp_path / "a", tmp_path / "other" / "ml.tar")
    first, second = tmp_path / "ml.tar", tmp_path / "other" / "ml.tar"
    assert first.read_bytes() == second.read_bytes()


def test_a_file_that_was_changed_on_its_way_is_refused(
    world: World, tmp_path: Path, interpreter: Interpreter
) -> None:
    root = tmp_path / "ml"
    world.create(root)
    toy = root / SITE / "toy.py"
    toy.unlink()
    toy.write_text("answer = 43\n")
    pack(root, tmp_path / "ml.tar")
    with pytest.raises(HashMismatch, match=r"toy\.py"):
        unpack_environment(tmp_path / "ml.tar", tmp_path / "new", world.host, HERE)
    assert not (tmp_path / "new").exists()


def evil(path: Path, name: str, target: str = "") -> Path:
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(name)
        if target:
            info.type, info.linkname = tarfile.SYMTYPE, target
        tar.addfile(info, io.BytesIO())
    return path


def test_what_is_no_archive_of_an_environment_is_told(
    archive: Path, world: World, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(archive.read_bytes()[:5000])
    text = tmp_path / "text.tar"
    text.write_text("no archive")
    found = [cut, text, evil(tmp_path / "1.tar", "../../evil"), evil(tmp_path / "2.tar", "a/b")]
    found.append(evil(tmp_path / "3.tar", "link", "/etc"))
    before = {path.name for path in tmp_path.iterdir()}
    for path in found:
        with pytest.raises(InvalidLock, match="archive"):
            unpack_environment(path, tmp_path / "new", world.host, HERE)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_an_archive_is_named_and_new(tmp_path: Path) -> None:
    (tmp_path / "there.tar").write_text("")
    for name, what in (("ml.zip", "does not say"), ("there.tar", "exists")):
        with pytest.raises(UsageError, match=what):
            refuse_archive(tmp_path / name)
    refuse_archive(tmp_path / "ml.tgz")


def test_nothing_is_left_when_packing_fails(world: World, tmp_path: Path) -> None:
    world.create(tmp_path / "ml")
    (tmp_path / "ml" / ".mlruntime" / "environment.json").write_text(json.dumps({}))
    with pytest.raises(MlruntimeError):
        pack(tmp_path / "ml", tmp_path / "ml.tar")
    assert {path.name for path in tmp_path.iterdir()} == {"ml", "world"}


@pytest.mark.starts
@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_the_script_is_sound() -> None:
    done = subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
