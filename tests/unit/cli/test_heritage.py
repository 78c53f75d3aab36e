"""5.0-ml, what the announcement of 2018 shipped: it is resolved, and says what locking needs."""

from pathlib import Path

import pytest
from mlruntime.cli import main

from tests.conftest import CHECKOUT

ROOT = ("--root", str(CHECKOUT))


def test_it_is_resolved_and_every_version_has_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ROOT, "resolve", "5.0-ml"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    for name, version in (("spark", "2.4.0"), ("tensorflow", "1.10.0"), ("keras", "2.2.4")):
        assert rows[name].split()[1] == version
        assert f"asked for =={version.rpartition('.')[0]}.*" in rows[name]
    assert "0.15.0" in rows["horovod"]


@pytest.mark.starts
def test_locking_it_needs_channels_that_have_its_packages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nowhere = (tmp_path / "nowhere").as_uri()
    monkeypatch.setenv(
        "MLRUNTIME_CONDA_CHANNELS", f"conda-forge={nowhere}/conda-forge main={nowhere}/main"
    )
    monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "store"))
    assert main([*ROOT, "lock", "5.0-ml"]) == 6
    said = capsys.readouterr().err
    for channel in ("conda-forge", "main"):
        assert f"there is no channel {channel}" in said
        assert f"MLRUNTIME_CONDA_CHANNELS='{channel}=" in said
    assert not (CHECKOUT / "runtimes" / "5.0-ml" / "lock.json").exists()
