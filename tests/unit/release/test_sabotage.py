"""Each kind of tampering is refused, for the right reason."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.errors import (
    ValidationFailed,
)
from mlruntime.registry.referrers import Attachment, attach
from mlruntime.release import documents as names
from mlruntime.release.documents import Candidate
from mlruntime.release.signing import SigningKey, signature_tag
from mlruntime.validation.reading import parse_report

from tests.unit.registries import Registry, sha256
from tests.unit.release.helpers import (
    PATH,
    answers,
    failed,
    opened,
    put,
    release,
    replace_document,
)
from tests.unit.toys import candidate, lock_of, new_key, report_of


@pytest.mark.parametrize("part", ["layers", "config"])
def test_another_layer_or_configuration_is_refused(
    released: Registry, key: SigningKey, part: str
) -> None:
    manifest = json.loads(released.manifests[PATH]["0.1.0-ml-cpu"][1])
    entry = manifest["layers"][0] if part == "layers" else manifest["config"]
    old = released.repository(PATH)[entry["digest"]]
    new = old.replace(b"1000:1000", b"0:0") if part == "config" else old + b"\0"
    released.repository(PATH)[sha256(new)] = new
    entry["digest"], entry["size"] = sha256(new), len(new)
    put(released, "0.1.0-ml-cpu", json.dumps(manifest).encode())
    assert "not signed" in failed(answers(released, "0.1.0-ml-cpu", key))["signature"]


@pytest.mark.parametrize("name", [names.SBOM, names.LOCK, names.REPORT, names.NOTES])
def test_a_swapped_document_is_refused(released: Registry, key: SigningKey, name: str) -> None:
    replace_document(released, name, lambda old: old.replace(b"toy", b"yot") + b" ")
    told = failed(answers(released, "0.1.0-ml-cpu", key))
    assert told["documents"] == f"{name} is another one than was released"


@pytest.mark.parametrize("name", [names.PROVENANCE, names.TEST_RESULT, names.RELEASE])
def test_a_changed_statement_is_refused(released: Registry, key: SigningKey, name: str) -> None:
    import base64

    def change(envelope: bytes) -> bytes:
        value = json.loads(envelope)
        payload = base64.b64decode(value["payload"]).replace(b"cpu", b"gpu")
        value["payload"] = base64.b64encode(payload).decode()
        return json.dumps(value).encode()

    replace_document(released, name, change)
    told = failed(answers(released, "0.1.0-ml-cpu", key))
    if name == names.RELEASE:
        assert told["release"].startswith(f"{name} is not signed with this key")
    else:
        assert told["documents"] == f"{name} is another one than was released"


def test_a_removed_document_is_missed(released: Registry, key: SigningKey) -> None:
    for digest, (_, content) in list(released.manifests[PATH].items()):
        if b"sbom.cdx.json" in content and b'"subject"' in content:
            del released.manifests[PATH][digest]
    told = failed(answers(released, "0.1.0-ml-cpu", key))
    assert told["documents"].startswith("sbom.cdx.json is missing")


def test_a_report_of_another_image_is_refused(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    """Whoever has the key, and attaches the report of another image, is found out."""
    other = json.dumps(report_of("sha256:" + "2" * 64, toy.lock))
    made = replace(toy, report=other, outcome=parse_report(other, file="r"))
    with pytest.raises(ValidationFailed, match="the report is of another image"):
        release(registry, made, key, tmp_path / "s")


def test_another_key_is_refused(released: Registry) -> None:
    told = failed(answers(released, "0.1.0-ml-cpu", new_key()))
    assert told["signature"] == "it is signed with another key"
    assert told["release"].startswith("release.intoto.json is not signed with this key")


def test_a_signature_of_another_image_is_refused(
    released: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    other = candidate(tmp_path / "store", lock_of("3.5.10"))
    release(released, other, key, tmp_path / "s")
    manifests = released.manifests[PATH]
    manifests[signature_tag(toy.digest)] = manifests[signature_tag(other.digest)]
    told = failed(answers(released, "0.1.0-ml-cpu", key))
    assert told["signature"] == "the signature is of another image"


def test_a_moved_tag_is_noticed(
    released: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    release(released, candidate(tmp_path / "store", lock_of("3.5.10")), key, tmp_path / "s")
    manifests = released.manifests[PATH]
    manifests["0.1.1-ml-cpu"] = manifests["0.1.0-ml-cpu"]
    told = failed(answers(released, "0.1.1-ml-cpu", key))
    assert told["release"].startswith("the tag 0.1.1-ml-cpu is on 0.1.0-ml, cpu")


def test_what_was_not_tested_on_a_cluster_is_refused_where_that_is_required(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    report = json.dumps(report_of(toy.digest, toy.lock, passed=("tensorflow.matmul",), workers=1))
    made = replace(toy, report=report, outcome=parse_report(report, file="r"))
    release(registry, made, key, tmp_path / "s")
    assert failed(answers(registry, "0.1.0-ml-cpu", key, ())) == {}
    told = failed(answers(registry, "0.1.0-ml-cpu", key))
    assert told["cluster-tested"].startswith("it was not tested on a cluster")


def test_a_document_that_a_stranger_attaches_does_no_harm(
    released: Registry, toy: Candidate, key: SigningKey
) -> None:
    note = Attachment(name="release.intoto.json", artifact_type="text/plain", content=b"{}")
    with opened(released) as there:
        attach(there, toy.image.manifest.descriptor(), note)
    assert failed(answers(released, "0.1.0-ml-cpu", key)) == {}
