"""What a stranger gets is what was released: from layouts, offline, and by the command line."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cli import main
from mlruntime.image.difference import DEFAULT_VARIANT
from mlruntime.release.documents import Candidate
from mlruntime.release.signing import SigningKey
from mlruntime.release.sources import LayoutSource, pull

from tests.unit.registries import Registry, debian_registry
from tests.unit.release.helpers import (
    PATH,
    answers,
    failed,
    opened,
    release,
)


def _pulled(registry: Registry, directory: Path) -> LayoutSource:
    with opened(registry) as there:
        manifest = there.manifest("0.1.0-ml")
        assert manifest is not None
        pull(there, manifest, "0.1.0-ml", directory)
    return LayoutSource(directory)


def test_a_layout_is_verified_offline_and_its_tampering_found(
    released: Registry, key: SigningKey, tmp_path: Path, capsys: Any
) -> None:
    layout = tmp_path / "layout"
    _pulled(released, layout)
    (tmp_path / "k.pub").write_text(key.public.pem)
    words = ["verify", str(layout), "--key", str(tmp_path / "k.pub"), "--json"]
    assert main([*words, "--require", "cluster-tested"]) == 0
    found = json.loads(capsys.readouterr().out)["images"]
    assert [i["name"] for i in found] == [DEFAULT_VARIANT]
    assert {a["status"] for a in found[0]["answers"]} == {"passed"}
    assert main(["verify", str(layout)]) == 8
    assert "no --key was given" in capsys.readouterr().out
    manifest = json.loads(released.manifests[PATH]["0.1.0-ml-cpu"][1])
    blob = layout / "blobs/sha256" / manifest["layers"][0]["digest"].partition(":")[2]
    content = blob.read_bytes()
    blob.write_bytes(b"x" + content[1:])
    assert main(words) == 7
    told = {a["name"]: a for a in json.loads(capsys.readouterr().out)["images"][0]["answers"]}
    assert told["image"]["status"] == "failed"
    assert "other bytes than its digest says" in told["image"]["told"]
    blob.unlink()
    assert main(words) == 7
    assert "the layout does not have" in capsys.readouterr().out


def test_verify_reads_a_registry_and_keeps_what_it_got(
    released: Registry, key: SigningKey, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "verify-store"))
    (tmp_path / "k.pub").write_text(key.public.pem)
    reference = f"{released.address}/{PATH}:0.1.0-ml"
    words = ["verify", reference, "--key", str(tmp_path / "k.pub")]
    assert main(words) == 0
    assert main([*words, "--pull"]) == 0
    assert main([*words, "--output", str(tmp_path / "kept")]) == 0
    shutil.rmtree(tmp_path / "verify-store", ignore_errors=True)
    assert main(["verify", f"{tmp_path / 'kept'}:0.1.0-ml", *words[2:]]) == 0
    capsys.readouterr()
    assert main(["verify", f"{released.address}/{PATH}:9.9.9-ml", *words[2:]]) == 2
    assert "there is no 9.9.9-ml" in capsys.readouterr().err
    assert main(["verify", str(tmp_path), *words[2:]]) == 2
    assert "is not an OCI layout" in capsys.readouterr().err


def test_channels_by_the_command_line(released: Registry, capsys: Any) -> None:
    where = ["--registry", f"{released.address}/{PATH}"]
    assert main(["release", "promote", "0.1-ml", "0.1.0-ml", *where, "--why", "tried"]) == 0
    assert main(["release", "list", "0.1-ml", *where, "--json"]) == 0
    record = json.loads(re.sub(r"\A[^{]*", "", capsys.readouterr().out))
    assert record["moves"][-1] | {"at": ""} == {
        "channel": "stable", "version": "0.1.0-ml", "at": "", "why": "tried"}  # fmt: skip
    assert main(["release", "rollback", "0.1-ml", *where]) == 2
    assert "no version before" in capsys.readouterr().err
    assert main(["release", "retire", "0.1-ml", "0.1.0-ml", *where, "--why", "CVE"]) == 0
    assert "retired: CVE" in capsys.readouterr().out
    assert main(["release", "promote", "0.1-ml", "0.1.0-ml", *where]) == 2
    assert main(["release", "list", "0.2-ml", *where]) == 0
    assert "nothing was released" in capsys.readouterr().out


@pytest.mark.starts
@pytest.mark.registry
def test_debian_s_registry_takes_a_release(toy: Candidate, key: SigningKey, tmp_path: Path) -> None:
    with debian_registry(tmp_path / "r") as address:
        there = Registry(address=address)
        assert release(there, toy, key, tmp_path / "s") == "0.1.0-ml"
        assert release(there, toy, key, tmp_path / "s") == "0.1.0-ml"
        assert failed(answers(there, "0.1.0-ml-cpu", key)) == {}
