"""Channels move, and every move is kept."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlruntime.errors import (
    UsageError,
)
from mlruntime.release.channels import CHANNELS, Record, parse_record
from mlruntime.release.documents import Candidate
from mlruntime.release.signing import SigningKey
from mlruntime.workflows.release.channels import move, retired, rolled_back

from tests.unit.registries import Registry, sha256
from tests.unit.release.helpers import NOW, PATH, opened, release
from tests.unit.toys import candidate, lock_of


def test_channels_move_and_every_move_is_kept(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    for spark in ("3.5.9", "3.5.10"):
        made = candidate(tmp_path / "store", lock_of(spark))
        release(registry, made, key, tmp_path / "s")

    def changed(change: Callable[[Record], Record]) -> Record:
        with opened(registry) as there:
            return move(there, "0.1-ml", CHANNELS, change, lambda _: None)

    def promoted(version: str) -> Callable[[Record], Record]:
        return lambda r: r.moved("stable", r.version(version).version, at=NOW, why="tried")

    def at(tag: str) -> str:
        return sha256(registry.manifests[PATH][tag][1])

    changed(promoted("0.1.0-ml"))
    changed(promoted("0.1.1-ml"))
    assert at("0.1-ml-cpu") == at("0.1.1-ml-cpu") and at("0.1-ml") == at("0.1.1-ml")
    record = changed(lambda r: rolled_back(r, "stable", at=NOW))
    assert at("0.1-ml-cpu") == at("0.1.0-ml-cpu")
    assert [m.why for m in record.moves] == [
        "released",
        "released",
        "tried",
        "tried",
        "rolled back",
    ]
    assert parse_record(record.to_json(), file="r") == record
    changed(promoted("0.1.1-ml"))
    changed(lambda r: retired(r, "0.1.1-ml", at=NOW, why="CVE"))
    assert at("0.1-ml-cpu") == at("0.1-ml-cpu-candidate") == at("0.1.0-ml-cpu")
    with pytest.raises(UsageError, match="is retired"):
        changed(promoted("0.1.1-ml"))
    with pytest.raises(UsageError, match="never released"):
        changed(promoted("0.1.7-ml"))
