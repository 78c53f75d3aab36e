"""`mlruntime site`: the same bytes wherever it runs, and what it does to the folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlruntime.cli import main
from mlruntime.workflows.site import MARKER

from tests.documents import CHECKOUT
from tests.unit.site.pages import files

ROOT = ["--root", str(CHECKOUT)]


def written(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MARKER
    }


@pytest.mark.starts
def test_the_same_bytes_elsewhere_and_over_an_older_site(tmp_path: Path) -> None:
    output = tmp_path / "ä b" / "site"
    (output / "docs").mkdir(parents=True)
    (output / "docs" / "gone.html").write_text("old")
    (output / "index.html").write_text("old")
    (output / "own.txt").write_text("somebody's")
    (tmp_path / "outside").write_text("somebody's")
    (output / MARKER).write_text("docs/gone.html\nindex.html\n../../outside\n/etc/hostname\n\n")
    strange = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo", "COLUMNS": "20"}
    done = subprocess.run(
        [sys.executable, "-m", "mlruntime", *ROOT, "site", "--output", "ä b/site", "--json"],
        cwd=tmp_path, env={**os.environ, **strange}, capture_output=True, text=True, umask=0o077,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    found = written(output)
    assert found.pop("own.txt") == b"somebody's"
    assert found == files()
    assert told["files"] == len(found) and told["size"] == sum(map(len, found.values()))
    assert told["removed"] == 1  # what leads elsewhere is not ours
    assert (tmp_path / "outside").exists()
    assert {path.stat().st_mode & 0o777 for path in output.rglob("*.html")} == {0o644}


def refused(capsys: pytest.CaptureFixture[str], output: Path, code: int) -> str:
    assert main([*ROOT, "site", "--output", str(output)]) == code
    said = capsys.readouterr()
    assert said.out == "" and "Traceback" not in said.err and str(output) in said.err
    return said.err


def test_a_folder_with_other_files_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert "thesis.txt" in refused(capsys, tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert "not a directory" in refused(capsys, tmp_path / "file", 2)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert "cannot write here" in refused(capsys, tmp_path / "file" / "site", 6)
    assert "--output" in refused(capsys, tmp_path / ("x" * 300), 6)
