"""The real definitions against the registries of this host."""

import json
import shutil
from pathlib import Path

import pytest
from mlruntime.cli import main
from mlruntime.lock.document import parse_lock

from tests.conftest import OMITTED

ROOT = Path(__file__).parents[3]


@pytest.mark.engine
def test_6_0_ml_locked_twice_is_the_same_and_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "definitions"
    monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "store"))
    for name in ("images", "runtimes"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "matrix.yaml", root)
    path = root / "runtimes/6.0-ml/lock.json"
    path.unlink()
    words = ["--root", str(root), "lock", "6.0-ml"]
    texts = []
    for _ in range(2):
        omit = [word for one in OMITTED for word in ("--omit-unavailable", one)]
        assert main([*words, *omit, "--json"]) == 0
        texts.append(path.read_text(encoding="utf-8"))
        path.unlink()
    assert texts[0] == texts[1]
    path.write_text(texts[0], encoding="utf-8")
    capsys.readouterr()
    assert main([*words, "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stale"] == []
    lock = parse_lock(texts[0], file="lock.json")
    assert {n.name for n in lock.variant("cpu").native} == {"horovod", "pyspark"}
    assert "//" not in texts[0]


def test_the_committed_lock_follows_from_the_definitions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = main(["--root", str(ROOT), "lock", "6.0-ml", "--check"])
    assert code == 0, capsys.readouterr().err
