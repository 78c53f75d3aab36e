"""What may be released: the image that a whole report is of, and nothing unproven."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from mlruntime.errors import (
    InvalidDefinition,
    ValidationFailed,
    ValidationIncomplete,
)
from mlruntime.image.files import different_files
from mlruntime.release.attribution import attribute
from mlruntime.release.documents import Candidate
from mlruntime.release.policy import must_be_proven, parse_policy
from mlruntime.validation.reading import parse_report

from tests.unit.toys import PASSED, candidate, lock_of, report_of


def proven(report: dict[str, Any], policy: str = "{}", today: str = "2026-11-27") -> None:
    lock = lock_of()
    must_be_proven(
        parse_report(json.dumps(report), file="r.json"),
        parse_policy(policy, file="release.yaml"),
        manifest="sha256:" + "1" * 64,
        lock=lock.digest,
        checks=PASSED,
        today=date.fromisoformat(today),
        file="r.json",
    )


def test_only_what_a_report_proves_may_be_released() -> None:
    ours, lock = "sha256:" + "1" * 64, lock_of()
    proven(report_of(ours, lock))
    with pytest.raises(ValidationFailed, match="not of the image"):
        proven(report_of("sha256:" + "2" * 64, lock))
    with pytest.raises(ValidationFailed, match="not of the image"):
        proven(report_of(None, lock))
    with pytest.raises(ValidationFailed, match="not of the image"):
        proven(report_of(ours, lock_of("3.5.8")))
    with pytest.raises(ValidationFailed, match="1 checks failed"):
        proven(report_of(ours, lock, failed=("keras.fit",)), "not-run: [{check: keras, why: x}]")
    with pytest.raises(ValidationFailed, match="no check was run"):
        proven(report_of(ours, lock, passed=()))


def test_what_was_not_run_must_be_allowed_by_name() -> None:
    unrun = report_of("sha256:" + "1" * 64, lock_of(), not_run=("gpu.nccl", "gpu.memory"))
    with pytest.raises(ValidationIncomplete, match="2 checks were not run") as caught:
        proven(unrun)
    assert "gpu.nccl (no GPU here)" in (caught.value.why or "")
    with pytest.raises(ValidationIncomplete, match="1 checks"):
        proven(unrun, "not-run: [{check: gpu.nccl, why: no GPU}]")
    proven(unrun, "not-run: [{check: gpu, why: no GPU}]")
    until = "not-run: [{check: gpu, why: no GPU, until: 2026-12-31}]"
    proven(unrun, until, today="2026-12-31")
    with pytest.raises(ValidationIncomplete):
        proven(unrun, until, today="2027-01-01")
    with pytest.raises(InvalidDefinition, match="is not a date"):
        parse_policy("not-run: [{check: a, why: b, until: 2026-13-01}]", file="release.yaml")


def test_a_report_of_some_checks_only_is_refused() -> None:
    some = report_of("sha256:" + "1" * 64, lock_of(), passed=PASSED[:-1])
    with pytest.raises(ValidationIncomplete, match="leaves 1 checks out") as caught:
        proven(some, "not-run: [{check: tensorflow, why: x}]")
    assert caught.value.why == "tensorflow.matmul"


def test_an_edited_report_is_refused() -> None:
    report = report_of("sha256:1", lock_of(), failed=("keras.fit",))
    for edited in (
        report | {"failed": 0},
        report | {"format": 9},
        report | {"started": "2026-11-27T10:00:00"},
        report | {"started": "yesterday"},
        report | {"checks": report["checks"] * 2},
    ):
        with pytest.raises(InvalidDefinition):
            parse_report(json.dumps(edited), file="r.json")


def test_every_file_of_the_toy_has_an_owner(toy: Candidate) -> None:
    found = attribute(toy.image, toy.plan, toy.blobs)
    assert found.nobody == ()
    assert found.files["jar:toy-1.jar"] == 1 and found.files["mlruntime"] == found.total - 1


def test_what_differs_between_two_builds_is_told_by_file(toy: Candidate, tmp_path: Path) -> None:
    other = candidate(tmp_path / "other", settings=b"a = 2\n")
    found = different_files(toy.image, toy.blobs, other.image, other.blobs)
    assert found == ("settings: etc/settings: content",)
    assert different_files(toy.image, toy.blobs, toy.image, toy.blobs) == ()
