"""Known vulnerabilities stop a release until they are accepted."""

import json
import zipfile
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from mlruntime.errors import (
    InvalidDefinition,
    ValidationFailed,
)
from mlruntime.lock.model import Lock
from mlruntime.release.advisories import parse_advisories
from mlruntime.release.policy import parse_policy
from mlruntime.release.vulnerabilities import must_be_safe, to_json, vulnerabilities
from mlruntime.workflows.release.inputs import read_advisories

from tests.unit.lock.test_lock import tiny
from tests.unit.release.helpers import (
    GRAVE,
    advisory,
)


def found_in(lock: Lock, *texts: bytes) -> list[str]:
    known = parse_advisories((f"{n}.json", text) for n, text in enumerate(texts))
    return [v.id for v in vulnerabilities(lock, "cpu", known)]


def test_versions_are_compared_as_their_ecosystems_do() -> None:
    lock = tiny()  # numpy 1.26.4, python3.11 3.11.2-6, tensorflow-cpu 2.15.1, a jar 0.11.0
    lock = replace(lock, components=(("debian", "12"),))
    zero = {"introduced": "0"}
    jar = ("Maven", "io.graphframes:graphframes-spark3_2.12")
    for package, fixed, hit in (
        (("PyPI", "NumPy"), "1.26.10", True),
        (("PyPI", "numpy"), "1.26.4", False),
        (("PyPI", "numpy"), "1.26.5rc1", True),
        (("Debian:12", "python3.11"), "3.11.2-6+deb12u1", True),
        (("Debian:12", "python3.11"), "3.11.2-6~deb12u1", False),
        (("Debian:11", "python3.11"), "9", False),
        (jar, "0.11.1", True),
        (jar, "0.9.0", False),
        (("PyPI", "horovod"), "0.28.2", True),
    ):
        assert found_in(lock, advisory("A-1", package, zero, {"fixed": fixed})) == ["A-1"] * hit
    last = advisory("A-2", ("PyPI", "numpy"), zero, {"last_affected": "1.26.4"})
    later = advisory("A-3", ("PyPI", "numpy"), {"introduced": "2.0"})
    gone = advisory("A-4", ("PyPI", "numpy"), zero, withdrawn="2026-01-01T00:00:00Z")
    assert found_in(lock, last, later, gone) == ["A-2"]


def test_grave_vulnerabilities_are_refused_until_they_are_accepted() -> None:
    lock, day = tiny(), date(2026, 11, 27)
    numpy, zero = ("PyPI", "numpy"), {"introduced": "0"}
    texts = [
        advisory("A-1", numpy, zero, aliases=["CVE-1"], **GRAVE),
        advisory("A-2", numpy, zero, database_specific={"severity": "LOW"}),
    ]
    known = parse_advisories((str(n), text) for n, text in enumerate(texts))
    found = vulnerabilities(lock, "cpu", known)
    assert [v.level for v in found] == ["high", "low"]
    accepting = parse_policy(
        "vulnerabilities: [{id: CVE-1, why: not called, until: 2026-11-27}]", file="r"
    )
    must_be_safe(found, accepting, worst="high", today=day, where="x")
    with pytest.raises(ValidationFailed, match="1 known vulnerabilities") as caught:
        must_be_safe(found, accepting, worst="high", today=date(2026, 11, 28), where="x")
    assert "A-1 (high) in numpy 1.26.4" in (caught.value.why or "")
    with pytest.raises(ValidationFailed):
        must_be_safe(found, accepting, worst="low", today=day, where="x")
    unknown = vulnerabilities(lock, "cpu", parse_advisories([("a", advisory("A", numpy, zero))]))
    with pytest.raises(ValidationFailed, match="level critical"):
        must_be_safe(unknown, accepting, worst="critical", today=day, where="x")


def test_nobody_looked_is_not_none(tmp_path: Path) -> None:
    assert json.loads(to_json((), None))["status"] == "not-run"
    with pytest.raises(InvalidDefinition, match="no advisory"):
        read_advisories([tmp_path])
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InvalidDefinition, match="no OSV advisory"):
        read_advisories([tmp_path])
    (tmp_path / "a.json").write_bytes(advisory("A", ("PyPI", "numpy"), {"introduced": "0"}))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(tmp_path / "a.json", "a.json")
    for path in (tmp_path, tmp_path / "b.zip"):
        known = read_advisories([path])
        assert known is not None and known.count == 1
    assert read_advisories([]) is None
