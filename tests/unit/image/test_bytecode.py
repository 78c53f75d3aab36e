"""The program that compiles wheels, run as the builder runs it, by this Python."""

import marshal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from mlruntime.ecosystems.pypi import compile_wheels
from mlruntime.ecosystems.pypi.compile_wheels import CHUNK

SITE = "opt/site"


def wheel(folder: Path, name: str, *members: str) -> Path:
    path = folder / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, f"name = {member!r}\n")
    return path


def test_modules_are_what_becomes_importable_but_for_tests(tmp_path: Path) -> None:
    path = wheel(
        tmp_path,
        "toy",
        "toy/__init__.py",
        "toy/tests/test_toy.py",
        "toy/deep/tests/data/more.py",
        "toy/tests.py",
        "toy/testing/help.py",
        "tests/test_all.py",
        "toy/data.txt",
        "toy-1.data/purelib/pure.py",
        "toy-1.data/purelib/pure/tests/x.py",
        "toy-1.data/scripts/run.py",
    )
    with zipfile.ZipFile(path) as archive:
        assert compile_wheels.modules(archive) == [
            "toy-1.data/purelib/pure.py",
            "toy/__init__.py",
            "toy/testing/help.py",
            "toy/tests.py",
        ]


@pytest.mark.starts
def test_each_archive_is_there_when_its_last_part_is_told(tmp_path: Path) -> None:
    large = wheel(tmp_path, "large", *(f"m{number:04}.py" for number in range(2 * CHUNK + 1)))
    small = wheel(tmp_path, "small", "small.py", "broken.py")
    with zipfile.ZipFile(small, "a") as archive:
        archive.writestr("old.py", "print 'two'")
    empty = wheel(tmp_path, "empty", "empty/tests/test_it.py")
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, compile_wheels.__file__, out, SITE, large, small, empty]
    with subprocess.Popen([str(word) for word in command], stdout=-1, text=True) as process:
        assert process.stdout is not None
        told = {}
        for line in process.stdout:
            name, count = line.split()
            done, total = count.split("/")
            if done == total:
                with zipfile.ZipFile(out / f"{name}.zip") as archive:
                    told[name] = archive.namelist()
    assert process.returncode == 0
    assert len(told[large.name]) == 2 * CHUNK + 1
    assert told[small.name] == [f"{SITE}/broken.py", f"{SITE}/small.py"]  # old.py is Python 2
    assert told[empty.name] == []
    with zipfile.ZipFile(out / f"{small.name}.zip") as archive:
        code = marshal.loads(archive.read(f"{SITE}/small.py")[16:])
    assert code.co_filename == f"/{SITE}/small.py"
