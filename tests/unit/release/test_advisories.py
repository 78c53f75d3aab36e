"""Advisories as OSV's databases have them: which packages they are about, and how grave they are.

The records have the fields of real ones of PYSEC, GitHub and Debian; names and versions are ours.
"""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.ecosystems.debian.owners import DebianOwners
from mlruntime.ecosystems.maven.inside import projects_in
from mlruntime.ecosystems.model import Bundled
from mlruntime.ecosystems.registered import ECOSYSTEMS
from mlruntime.errors import InvalidDefinition, ValidationFailed
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact
from mlruntime.release.advisories import Known, parse_advisories
from mlruntime.release.attribution import noted
from mlruntime.release.inside import NOTHING_INSIDE, Inside
from mlruntime.release.policy import parse_policy
from mlruntime.release.sbom import cyclonedx, packages, spdx
from mlruntime.release.severity import level_of
from mlruntime.release.vex import excepted
from mlruntime.release.vulnerabilities import looked_up, must_be_safe, to_json, vulnerabilities
from mlruntime.workflows.release.inputs import read_advisories

from tests.unit.damaged import damaged, other_values
from tests.unit.lock.test_lock import tiny

DAY = date(2026, 11, 27)
LOW = "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"
HIGH = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"
CRITICAL = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
CRITICAL_4 = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"

PYSEC: dict[str, Any] = {
    "id": "PYSEC-2026-33",
    "details": "An issue was discovered in numpy.pad.",
    "aliases": ["CVE-2026-12852", "GHSA-frgw-fgh6-9g52"],
    "modified": "2026-06-10T06:54:10.108Z",
    "published": "2026-05-15T16:29:00Z",
    "references": [{"type": "ADVISORY", "url": "https://example.org/1"}],
    "affected": [
        {
            "package": {"name": "numpy", "ecosystem": "PyPI", "purl": "pkg:pypi/numpy"},
            "ranges": [
                {"type": "GIT", "repo": "https://example.org/numpy", "events": [
                    {"introduced": "0"}, {"fixed": "11593aa176d491beb0cc5ffcc393956a5435a2bf"}]},
                {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.26.5"}]},
            ],
            "versions": ["1.26.3", "1.26.4"],
        }
    ],
}  # fmt: skip
GHSA: dict[str, Any] = {
    "schema_version": "1.4.0",
    "id": "GHSA-frgw-fgh6-9g52",
    "aliases": ["CVE-2026-12852", "PYSEC-2026-33"],
    "summary": "numpy.pad does not end",
    "severity": [{"type": "CVSS_V3", "score": HIGH}],
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "numpy", "purl": "pkg:pypi/numpy"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.26.5"}]}],
            "database_specific": {"source": "https://example.org/2"},
        }
    ],
    "database_specific": {"cwe_ids": ["CWE-835"], "severity": "HIGH", "github_reviewed": True,
                          "github_reviewed_at": "2026-06-10T00:00:00Z", "nvd_published_at": None},
}  # fmt: skip
DEBIAN: dict[str, Any] = {
    "schema_version": "1.7.3",
    "id": "DEBIAN-CVE-2026-0464",
    "upstream": ["CVE-2026-0464"],
    "details": "A vulnerability in the verification of certificates.",
    "severity": [{"type": "CVSS_V3", "score": CRITICAL}],
    "affected": [
        {
            "package": {"ecosystem": f"Debian:{release}", "name": "openssl",
                        "purl": "pkg:deb/debian/openssl?arch=source"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
            "ecosystem_specific": {"urgency": "not yet assigned"},
        }
        for release, fixed in (("11", "1.1.1n-0+deb11u5"), ("12", "3.0.11-1~deb12u1"))
    ],
}  # fmt: skip
STATUS = """\
Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl
Version: 3.0.9-1

Package: libc6
Source: glibc
Version: 2.36-9

Package: libfoo1
Source: foo (1.2-3)
Version: 1:1.2-3+b1

Package: curl
Version: 7.88.1-10
"""


def known_of(*records: dict[str, Any]) -> Known:
    return parse_advisories((r["id"], json.dumps(r).encode()) for r in records)


def deb(name: str, version: str) -> Artifact:
    return Artifact(
        kind="deb",
        name=name,
        version=version,
        filename=f"{name}_{version}_amd64.deb",
        size=1,
        sha256="d" * 64,
        origin="debian:bookworm:pool/main/x",
    )


def system(*debs: Artifact) -> Lock:
    return replace(tiny(), os=debs, components=(("debian", "12"),))


def tarred(**files: bytes) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    made.seek(0)
    return made


def dpkg(status: str = STATUS) -> DebianOwners:
    owners = DebianOwners()
    with tarfile.open(fileobj=tarred(var__lib__dpkg__status=status.encode())) as archive:
        noted(archive, [owners])
    return owners


# severity


@pytest.mark.parametrize(
    ("parts", "level"),
    [
        ({"severity": [{"type": "CVSS_V3", "score": LOW}]}, "low"),
        ({"severity": [{"type": "CVSS_V3", "score": HIGH}]}, "high"),
        ({"severity": [{"type": "CVSS_V3", "score": CRITICAL}]}, "critical"),
        ({"severity": [{"type": "CVSS_V4", "score": CRITICAL_4}]}, "critical"),
        ({"severity": [{"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:N/I:N/A:C"}]}, "high"),
        ({"severity": [{"type": "CVSS_V3", "score": "9.8"}]}, "critical"),
        ({"severity": [{"type": "CVSS_V3", "score": LOW}, {"type": "CVSS_V3", "score": HIGH}]},
         "high"),
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N"}]}, "unknown"),
        ({"severity": [{"type": "Ubuntu", "score": "medium"}]}, "unknown"),
        ({"severity": []}, "unknown"),
        ({"database_specific": {"severity": "MODERATE"}}, "medium"),
        ({"database_specific": {"severity": "LOW"}, "severity": [{"score": HIGH}]}, "high"),
        ({"ecosystem_specific": {"urgency": "unimportant"}}, "low"),
        ({"ecosystem_specific": {"urgency": "not yet assigned"}}, "unknown"),
        ({}, "unknown"),
    ],
)  # fmt: skip
def test_how_grave_an_advisory_is(parts: dict[str, Any], level: str) -> None:
    """The same wherever it says so: of itself, or of one of its packages."""
    assert level_of(parts, [{}]) == level
    assert level_of({}, [{}, parts]) == level


def test_real_records_stop_a_release() -> None:
    lock = system(deb("libssl3", "3.0.9-1"))
    inside = Inside(sources=dpkg().sources)
    found = vulnerabilities(lock, "cpu", known_of(PYSEC, GHSA, DEBIAN), inside)
    assert [(v.id, v.level, v.package, v.version) for v in found] == [
        ("DEBIAN-CVE-2026-0464", "critical", "libssl3", "3.0.9-1"),
        ("GHSA-frgw-fgh6-9g52", "high", "numpy", "1.26.4"),
        ("PYSEC-2026-33", "high", "numpy", "1.26.4"),
    ]
    empty = parse_policy("{}", file="r")
    with pytest.raises(ValidationFailed, match="1 known vulnerabilities of level critical"):
        must_be_safe(found, empty, worst="critical", today=DAY, where="x")
    accepting = parse_policy(
        "vulnerabilities: [{id: CVE-2026-0464, why: w, until: 2027-01-01},"
        " {id: CVE-2026-12852, why: w, until: 2027-01-01}]",
        file="r",
    )
    must_be_safe(found, accepting, worst="high", today=DAY, where="x")


def test_a_record_without_a_level_is_grave_unless_another_says_more() -> None:
    (alone,) = vulnerabilities(tiny(), "cpu", known_of(PYSEC))
    assert alone.level == "unknown"
    mild = GHSA | {"severity": [{"type": "CVSS_V3", "score": LOW}], "database_specific": {}}
    assert {v.level for v in vulnerabilities(tiny(), "cpu", known_of(PYSEC, mild))} == {"low"}


def is_hit(version: str, *events: dict[str, str]) -> bool:
    """Return whether a version of numpy is in a range with these events."""
    lock = tiny()
    numpy = next(wheel for wheel in lock.python if wheel.name == "numpy")
    others = tuple(wheel for wheel in lock.python if wheel.name != "numpy")
    lock = replace(lock, python=(*others, replace(numpy, version=version)))
    package = {"ecosystem": "PyPI", "name": "numpy"}
    ranges = [{"type": "ECOSYSTEM", "events": list(events)}]
    record = {"id": "P-1", "affected": [{"package": package, "ranges": ranges}]}
    return bool(vulnerabilities(lock, "cpu", known_of(record)))


TWICE = ({"introduced": "0"}, {"fixed": "1.9"}, {"introduced": "1.10"}, {"fixed": "1.26.4"},
         {"introduced": "1.26.5"}, {"last_affected": "1.26.5"})  # fmt: skip


@given(st.permutations(TWICE))
def test_events_may_be_listed_in_any_order(events: list[dict[str, str]]) -> None:
    versions = ("1.8", "1.9", "1.9.9", "1.10", "1.26.3", "1.26.4", "1.26.5", "1.26.6")
    hit = {"1.8", "1.10", "1.26.3", "1.26.5"}
    assert {version for version in versions if is_hit(version, *events)} == hit


def test_what_is_introduced_where_something_is_fixed_is_there() -> None:
    events = ({"introduced": "1.2"}, {"introduced": "0"}, {"fixed": "1.2"})
    assert is_hit("1.2", *events) and is_hit("1.3", *events)


# advisories that are none


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"affected": ["x"]}, "$.affected[0]"),
        ({"affected": [{"package": "numpy"}]}, "$.affected[0].package"),
        ({"affected": [{"ranges": [{"type": "ECOSYSTEM", "events": ["0"]}]}]}, "events[0]"),
        ({"affected": [{"versions": [1]}]}, "versions[0]"),
        ({"affected": 1}, "$.affected"),
        ({"database_specific": "HIGH"}, "$.database_specific"),
        ({"severity": HIGH}, "$.severity"),
        ({"severity": [HIGH]}, "$.severity[0]"),
        ({"aliases": "CVE-1"}, "$.aliases"),
        ({"id": None}, "$.id"),
    ],
)
def test_what_is_no_advisory_is_told_with_its_place(more: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidDefinition, match="no OSV advisory") as caught:
        parse_advisories([("a.json", json.dumps(GHSA | more).encode())])
    assert caught.value.where == "a.json" and why in (caught.value.why or "")


def test_a_bound_that_is_no_version_is_told_with_its_advisory() -> None:
    lock = system(deb("libssl3", "3.0.9-1"))
    wrong = json.loads(json.dumps(DEBIAN).replace("3.0.11-1~deb12u1", "<not yet>"))
    with pytest.raises(InvalidDefinition, match="DEBIAN-CVE-2026-0464 has a version of openssl"):
        vulnerabilities(lock, "cpu", known_of(wrong), Inside(sources=dpkg().sources))


@given(other_values(GHSA) | other_values(DEBIAN) | damaged(json.dumps(PYSEC).encode()))
def test_no_advisory_is_a_bug_of_ours(content: bytes) -> None:
    lock = system(deb("openssl", "3.0.9-1"))
    with suppress(InvalidDefinition):
        found = vulnerabilities(lock, "cpu", parse_advisories([("a.json", content)]))
        assert to_json(found, None)


# Debian's packages by their sources


def test_debian_s_packages_are_looked_up_by_their_sources() -> None:
    sources = dpkg().sources
    assert sources["deb:libfoo1"] == ("foo", "1.2-3") and sources["deb:curl"][0] == "curl"
    lock = system(deb("libssl3", "3.0.9-1"), deb("libc6", "2.36-9"), deb("libfoo1", "1:1.2-3+b1"))

    def about(source: str, fixed: str, release: str = "12") -> dict[str, Any]:
        events = [{"introduced": "0"}, {"fixed": fixed}]
        package = {"ecosystem": f"Debian:{release}", "name": source}
        ranges = [{"type": "ECOSYSTEM", "events": events}]
        return {"id": "D-1", "affected": [{"package": package, "ranges": ranges}]}

    for record, hit in (
        (about("glibc", "2.36-9+deb12u1"), ["libc6"]),
        (about("glibc", "2.36-9"), []),
        (about("glibc", "9", release="13"), []),
        (about("libc6", "9"), []),
        (about("foo", "1.2-4"), ["libfoo1"]),  # the source has no epoch, the package has
        (about("foo", "1.2-3"), []),
    ):
        found = vulnerabilities(lock, "cpu", known_of(record), Inside(sources=sources))
        assert [v.package for v in found] == hit, record


# jars that packages bring


def jar(*projects: tuple[str, str, str]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
        for group, name, version in projects:
            text = f"#Generated\r\nversion={version}\r\ngroupId={group}\r\nartifactId={name}\r\n"
            archive.writestr(f"META-INF/maven/{group}/{name}/pom.properties", text)
    return made.getvalue()


def test_a_jar_says_which_projects_are_in_it() -> None:
    assert projects_in(jar(("g", "a", "1"), ("h", "shaded", "2.0-RC1"))) == (
        ("g:a", "1"), ("h:shaded", "2.0-RC1"))  # fmt: skip
    assert projects_in(jar()) == ()
    assert projects_in(b"no zip") == projects_in(jar(("g", "a", "1"))[:-30]) == ()


def bundled(name: str, version: str, file: str) -> Bundled:
    group, artifact = name.split(":")
    return Bundled(
        origin="maven",
        name=name,
        version=version,
        purl=f"pkg:maven/{group}/{artifact}@{version}",
        file=file,
    )


def test_jars_in_an_image_are_looked_up_and_listed() -> None:
    found: dict[str, object] = {}

    def note(path: str, content: Callable[[], bytes]) -> None:
        found[path] = ECOSYSTEMS["maven"].bundled(path, content)

    files = {"opt__spark__jars__a-1.jar": jar(("g", "a", "1")), "opt__x": b"x"}
    with tarfile.open(fileobj=tarred(**files)) as archive:
        assert noted(archive, [], note) == ["opt/spark/jars/a-1.jar", "opt/x"]
    assert found == {"opt/spark/jars/a-1.jar": (bundled("g:a", "1", "opt/spark/jars/a-1.jar"),),
                     "opt/x": None}  # fmt: skip
    lock = tiny()
    (locked,) = lock.jars
    inside = Inside(
        bundled=(
            bundled("org.apache:log4j", "2.14.1", "opt/b.jar"),
            bundled("org.apache:log4j", "2.14.1", "opt/a.jar"),
            bundled(locked.name, locked.version, "opt/c.jar"),
        ),
        unnamed=("opt/spark/jars/x_2.12-1.jar", f"opt/spark/jars/{locked.filename}"),
    ).beside(lock.jars)
    assert [one.file for one in inside.bundled] == ["opt/a.jar"]
    assert inside.unnamed == ("opt/spark/jars/x_2.12-1.jar",)
    record = {
        "id": "GHSA-jfh8",
        "severity": [{"type": "CVSS_V3", "score": CRITICAL}],
        "affected": [
            {
                "package": {"ecosystem": "Maven", "name": "org.apache:log4j"},
                "ranges": [
                    {"type": "ECOSYSTEM", "events": [{"introduced": "2.0"}, {"fixed": "2.15.0"}]}
                ],
            }
        ],
    }
    (hit,) = vulnerabilities(lock, "cpu", known_of(record), inside)
    assert (hit.package, hit.version, hit.level) == ("org.apache:log4j", "2.14.1", "critical")
    listed = packages(lock, "cpu", {}, {}, inside=inside)
    about = ("image", "sha256:" + "1" * 64, "6.0.0-ml", lock, listed)
    (component,) = [c for c in json.loads(cyclonedx(*about))["components"]
                    if c["purl"] == "pkg:maven/org.apache/log4j@2.14.1"]  # fmt: skip
    assert component["properties"] == [{"name": "mlruntime:bundled-in", "value": "opt/a.jar"}]
    (part,) = [p for p in json.loads(spdx(*about))["packages"] if p["name"] == "org.apache:log4j"]
    assert part["sourceInfo"] == "bundled in opt/a.jar"


# what nobody has looked for


def test_each_ecosystem_without_advisories_is_not_run() -> None:
    lock = system(deb("libssl3", "3.0.9-1"))
    inside = Inside(unnamed=("opt/x.jar",))

    def status(known: Known | None, inside: Inside = Inside()) -> tuple[str, dict[str, str]]:  # noqa: B008
        looked = looked_up(lock, "cpu", known, inside)
        value = json.loads(to_json((), known, looked))
        return value["status"], {e["ecosystem"]: e["status"] for e in value["ecosystems"]}

    python = {"Debian:12": "not-run", "Maven": "not-run", "PyPI": "run"}
    assert status(known_of(GHSA)) == ("partly-run", python)
    assert status(None) == ("not-run", dict.fromkeys(python, "not-run"))
    elsewhere = {"id": "G", "affected": [{"package": {"ecosystem": "Go", "name": "x"}}]}
    assert status(known_of(elsewhere))[0] == "not-run"
    maven = {"id": "M", "affected": [{"package": {"ecosystem": "Maven", "name": "a:b"}}]}
    every = known_of(GHSA, DEBIAN, maven)
    assert status(every) == ("run", dict.fromkeys(python, "run"))
    assert status(every, inside)[0] == "partly-run"
    gone = [r | {"withdrawn": "2026-01-01T00:00:00Z"} for r in (GHSA, DEBIAN, maven)]
    assert status(known_of(*gone))[0] == "run", "that a database has nothing is an answer"


def test_an_exception_ends_also_where_only_some_was_looked_up() -> None:
    policy = parse_policy("vulnerabilities: [{id: CVE-9, why: w, until: 2026-01-01}]", file="r")
    with pytest.raises(ValidationFailed, match="no longer accepted"):
        excepted(
            tiny(), "cpu", policy, (), inside=NOTHING_INSIDE, looked=False, today=DAY, where="x"
        )
    assert (
        excepted(
            tiny(), "cpu", policy, (), inside=NOTHING_INSIDE, looked=True, today=DAY, where="x"
        )
        == ()
    )


def test_a_zip_may_have_other_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("PyPI/", "")
        archive.writestr("PyPI/GHSA.json", json.dumps(GHSA))
        archive.writestr("README.md", "# about")
    known = read_advisories([tmp_path / "all.zip"])
    assert known is not None and known.count == 1
