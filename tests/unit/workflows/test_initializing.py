"""``mlruntime init``: definitions of one's own, from those of the checkout."""

import json
import os
from pathlib import Path

import pytest
from mlruntime.cli import main
from mlruntime.definitions.files import Definitions
from mlruntime.errors import InvalidDefinition, UsageError
from mlruntime.workflows.initializing import start_definitions

from tests.conftest import CHECKOUT

SOURCE = Definitions(CHECKOUT)


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_all_of_it_is_copied_and_its_locks_are_fresh(tmp_path: Path) -> None:
    root = tmp_path / "new" / "ours"
    made = start_definitions(SOURCE, root, runtime=None, name=None)
    assert made.runtimes == SOURCE.runtimes()
    assert made.unlocked == ("5.0-ml",)  # the heritage: from channels, and not locked
    found = files(root)
    for part in ("images/layers.yaml", "matrix.yaml", "runtimes/6.0-ml/lock.json", "release.yaml"):
        assert found[part] == (CHECKOUT / part).read_bytes()
    assert not any("__pycache__" in path for path in found)
    assert main(["--root", str(root), "lock", "6.0-ml", "--check"]) == 0


def test_a_runtime_gets_a_name_of_its_own_and_no_lock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "ours"
    words = ["init", str(root), "6.0-ml", "--name", "team-1.0", "--json"]
    assert main(["--root", str(CHECKOUT), *words]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["runtimes"], said["unlocked"]) == (["team-1.0"], ["team-1.0"])
    assert list(files(root / "runtimes")) == ["team-1.0/runtime.yaml"]
    assert main(["--root", str(root), "resolve", "team-1.0"]) == 0
    text = (root / "runtimes/team-1.0/runtime.yaml").read_text()
    schema = text.splitlines()[0].partition("$schema=")[2]
    assert (root / "runtimes/team-1.0" / schema).is_file()


@pytest.mark.parametrize(
    ("runtime", "name", "what"),
    [
        ("6.0", None, "there is no runtime '6.0'"),
        (None, "team-1.0", "--name needs a runtime"),
        ("6.0-ml", "Team 1", "runtime"),
        ("6.0-ml", "../team", "runtime"),
    ],
)
def test_a_mistake_leaves_nothing(
    tmp_path: Path, runtime: str | None, name: str | None, what: str
) -> None:
    with pytest.raises((UsageError, InvalidDefinition)) as raised:
        start_definitions(SOURCE, tmp_path / "ours", runtime=runtime, name=name)
    assert what in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for target in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(UsageError, match="this exists already"):
            start_definitions(SOURCE, target, runtime=None, name=None)
    assert files(tmp_path) == {"thesis.txt": b"years of work"}


def test_files_have_the_modes_of_new_files(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        start_definitions(SOURCE, tmp_path / "ours", runtime="7.0-ml", name=None)
    finally:
        os.umask(before)
    assert {p.stat().st_mode & 0o777 for p in tmp_path.rglob("*") if p.is_file()} == {0o600}
    assert (tmp_path / "ours").stat().st_mode & 0o777 == 0o700
