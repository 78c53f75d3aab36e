"""Releasing the same images again: what is missing comes back, and what is new is stated anew."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cli import main
from mlruntime.definitions.files import Definitions
from mlruntime.release import documents as names
from mlruntime.release.documents import Candidate
from mlruntime.release.evidence import evidence
from mlruntime.release.inside import NOTHING_INSIDE
from mlruntime.release.policy import parse_policy
from mlruntime.release.signing import SigningKey, signature_tag
from mlruntime.release.vex import excepted
from mlruntime.validation.reading import parse_report
from mlruntime.workflows.inputs import read_matrix
from mlruntime.workflows.locked import read_lock

from tests.conftest import CHECKOUT
from tests.unit.registries import Registry
from tests.unit.release.helpers import PATH, TODAY, answers, failed, release
from tests.unit.toys import candidate, lock_of, new_key, report_of

ACCEPTED = "vulnerabilities: [{id: CVE-1, packages: ['g:toy'], why: not called, until: %s}]"


def accepting(made: Candidate, until: str) -> Candidate:
    policy = parse_policy(ACCEPTED % until, file="release.yaml")
    found = excepted(
        made.lock, "cpu", policy, (), inside=NOTHING_INSIDE, looked=False, today=TODAY, where="toy"
    )
    return replace(made, excepted=found)


def statements(registry: Registry) -> Iterator[dict[str, Any]]:
    """Yield the predicates of all release statements that are attached."""
    for _, content in dict(registry.manifests[PATH]).values():
        value = json.loads(content)
        title = value.get("annotations", {}).get("org.opencontainers.image.title")
        if "subject" in value and title == names.RELEASE:
            envelope = json.loads(registry.repository(PATH)[value["layers"][0]["digest"]])
            yield json.loads(base64.b64decode(envelope["payload"]))["predicate"]


def test_an_exception_is_renewed_without_a_new_version(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    ended = date(2027, 1, 1)
    release(registry, accepting(toy, "2026-12-31"), key, tmp_path / "s")
    told = failed(answers(registry, "0.1.0-ml-cpu", key, ("supported",), ended))
    assert told == {"supported": "vulnerabilities were accepted for a time that has passed"
                                 " (CVE-1 until 2026-12-31)"}  # fmt: skip
    renewed = accepting(toy, "2027-06-30")
    for _ in range(2):
        assert release(registry, renewed, key, tmp_path / "s") == "0.1.0-ml"
        found = answers(registry, "0.1.0-ml-cpu", key, ("supported",), ended)
        assert failed(found) == {} and found["supported"].told == "until 2027-06-30"
        said = {p.get("revision", 1): p["accepted"][0]["until"] for p in statements(registry)}
        assert said == {1: "2026-12-31", 2: "2027-06-30"}
    release(registry, toy, key, tmp_path / "s")
    found = answers(registry, "0.1.0-ml-cpu", key, ("supported",), ended)
    assert failed(found) == {} and found["vex"].told == "no known vulnerability was accepted"


def vex_of(registry: Registry, until: str) -> str:
    """Return the digest of the VEX document that accepts something until a day."""
    for digest, content in registry.repository(PATH).items():
        if b'"payload"' in content:
            said = json.loads(base64.b64decode(json.loads(content)["payload"]))
            if "openvex" in said["predicateType"] and until in json.dumps(said):
                return digest
    raise AssertionError(until)


def test_only_what_the_newest_statement_lists_is_missed(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    release(registry, accepting(toy, "2026-12-31"), key, tmp_path / "s")
    release(registry, accepting(toy, "2027-06-30"), key, tmp_path / "s")
    blobs = registry.repository(PATH)
    del blobs[vex_of(registry, "2026-12-31")]
    assert failed(answers(registry, "0.1.0-ml-cpu", key)) == {}
    newest = vex_of(registry, "2027-06-30")
    blobs[newest] = blobs[newest][:-1]
    told = failed(answers(registry, "0.1.0-ml-cpu", key))
    assert told["documents"].startswith(f"{names.VEX} is missing")


def test_a_newer_report_is_stated_anew(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    release(registry, toy, key, tmp_path / "s")
    report = json.dumps(report_of(toy.digest, toy.lock, workers=4))
    made = replace(toy, report=report, outcome=parse_report(report, file="r"))
    release(registry, made, key, tmp_path / "s")
    found = answers(registry, "0.1.0-ml-cpu", key)
    assert failed(found) == {} and found["cluster-tested"].told == "on 4 workers"


def test_a_stranger_s_newer_statement_counts_for_nothing(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    release(registry, toy, key, tmp_path / "s")
    other = accepting(toy, "2027-06-30")
    release(registry, other, key, tmp_path / "s")
    release(registry, toy, new_key(), tmp_path / "s")
    assert answers(registry, "0.1.0-ml-cpu", key)["vex"].told.startswith("1 under investigation")


@pytest.mark.parametrize("what", ["document", "bytes", "layer", "signature", "index", "tag"])
def test_what_is_missing_comes_back(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
    what: str,
) -> None:
    """Also of a version that is not the newest any more."""
    release(registry, toy, key, tmp_path / "s")
    release(registry, candidate(tmp_path / "store", lock_of("3.5.10")), key, tmp_path / "s")
    manifests, blobs = registry.manifests[PATH], registry.repository(PATH)
    before = dict(manifests)
    index = json.loads(manifests["0.1.0-ml"][1])["manifests"][0]["digest"]
    assert index == toy.digest
    for name, (_, content) in before.items():
        value = json.loads(content)
        title = value.get("annotations", {}).get("org.opencontainers.image.title")
        ours = (value.get("subject") or {}).get("digest") == toy.digest
        if ours and title == names.SBOM:
            if what == "document":
                del manifests[name]
            elif what == "bytes":
                del blobs[value["layers"][0]["digest"]]
    if what == "layer":
        del blobs[toy.image.layers[-1].blob.digest]
    elif what == "signature":
        del manifests[signature_tag(toy.digest)]
    elif what == "index":
        del manifests["0.1.0-ml"]
    elif what == "tag":
        del manifests["0.1.0-ml-cpu"]
    assert release(registry, toy, key, tmp_path / "s") == "0.1.0-ml"
    assert failed(answers(registry, "0.1.0-ml-cpu", key)) == {}
    if what != "signature":  # each signature is another one
        assert manifests == before


def test_a_changelog_says_what_changed_from_version_to_version(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    release(registry, toy, key, tmp_path / "s")
    release(registry, candidate(tmp_path / "store", lock_of("3.5.10")), key, tmp_path / "s")
    release(registry, candidate(tmp_path / "store", settings=b"2\n"), key, tmp_path / "s")
    where = ["--registry", f"{registry.address}/{PATH}"]
    assert main(["release", "retire", "0.1-ml", "0.1.1-ml", *where, "--why", "CVE-1"]) == 0
    capsys.readouterr()
    assert main(["release", "changelog", "0.1-ml", *where]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "# Changelog of 0.1-ml",
        "",
        "## 0.1.2-ml - 2026-11-27",
        "",
        "- spark 3.5.10 → 3.5.9",
        "",
        "## 0.1.1-ml - 2026-11-27",
        "",
        "Retired: CVE-1",
        "",
        "- spark 3.5.9 → 3.5.10",
        "",
        "## 0.1.0-ml - 2026-11-27",
        "",
        "- the first version",
    ]


def test_the_evidence_of_a_lock_is_attached(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    definitions = Definitions(CHECKOUT)
    lock = read_lock(definitions, "6.0-ml")
    text = evidence(read_matrix(definitions).rules, lock)
    value = json.loads(text)
    assert value["lock"] == lock.digest and value["rules"]
    assert all(rule["source"] and rule["evidence"] for rule in value["rules"])
    release(registry, replace(toy, evidence=text), key, tmp_path / "s")
    found = answers(registry, "0.1.0-ml-cpu", key)
    assert failed(found) == {} and found["documents"].told.startswith("10, ")


def test_keyless_signatures_are_never_passed_unseen(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    release(registry, toy, key, tmp_path / "s")
    found = answers(registry, "0.1.0-ml-cpu", key, ("keyless",))["keyless"]
    assert found.status == "not-run" and "Fulcio" in found.told
