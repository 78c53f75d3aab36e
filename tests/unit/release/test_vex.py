"""Known vulnerabilities that a release accepts: what is said of them, and until when."""

import base64
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from mlruntime.ecosystems.model import Bundled
from mlruntime.errors import InvalidDefinition, ValidationFailed
from mlruntime.lock.model import Lock
from mlruntime.release import documents as names
from mlruntime.release.advisories import parse_advisories
from mlruntime.release.documents import Candidate
from mlruntime.release.inside import NOTHING_INSIDE, Inside
from mlruntime.release.notes import notes
from mlruntime.release.policy import parse_policy
from mlruntime.release.signing import SigningKey, opened
from mlruntime.release.versions import step
from mlruntime.release.vex import Excepted, attested, excepted
from mlruntime.release.vulnerabilities import vulnerabilities

from tests.unit.lock.test_lock import tiny
from tests.unit.registries import Registry
from tests.unit.release.helpers import (
    GRAVE,
    PATH,
    advisory,
    answers,
    failed,
    release,
    replace_document,
)

DAY = date(2026, 11, 27)
LATER = date(2027, 4, 1)
POLICY = """
author: ml-platform@example.org
vulnerabilities:
  - id: CVE-1
    status: not_affected
    justification: vulnerable_code_not_in_execute_path
    why: nothing calls numpy.distutils
    until: 2027-03-31
  - id: CVE-2
    status: affected
    action: set no password in a URL
    why: there is no fix yet
    until: 2027-01-31
    packages: ["g:toy", Python3.11]
  - {id: CVE-3, why: read today, until: 2027-02-28, packages: [somebody-elses]}
"""
KNOWN = parse_advisories(
    [
        (
            "1",
            advisory("GHSA-1", ("PyPI", "numpy"), {"introduced": "0"}, aliases=["CVE-1"], **GRAVE),
        )
    ]
)


def of(lock: Lock, policy: str = POLICY, today: date = DAY, **more: Any) -> tuple[Excepted, ...]:
    known = more.get("known", KNOWN)
    inside = more.get("inside", NOTHING_INSIDE)
    found = vulnerabilities(lock, "cpu", known, inside) if known else ()
    return excepted(
        lock,
        "cpu",
        parse_policy(policy, file="r"),
        found,
        inside=inside,
        looked=known is not None,
        today=today,
        where="x",
    )


def test_what_is_accepted_names_the_packages_that_have_it() -> None:
    first, second = of(tiny())
    assert (first.entry.id, first.aliases) == ("CVE-1", ("GHSA-1",))
    assert first.packages == (("numpy", "pkg:pypi/numpy@1.26.4"),)
    assert second.packages == (("python3.11", "pkg:deb/debian/python3.11@3.11.2-6"),)


def test_a_jar_inside_a_wheel_is_named_as_well() -> None:
    jar = Bundled(
        origin="maven",
        name="org.apache:log4j",
        version="2.14.1",
        purl="pkg:maven/org.apache/log4j@2.14.1",
        file="opt/spark/jars/log4j.jar",
    )
    known = parse_advisories(
        [("1", advisory("GHSA-2", ("Maven", "org.apache:log4j"), {"introduced": "2.0"}, **GRAVE))]
    )
    policy = "vulnerabilities: [{id: GHSA-2, why: no lookups, until: 2027-03-31%s}]"
    for more in ("", ", packages: ['org.apache:log4j']"):
        inside = Inside(bundled=(jar,))
        (found,) = of(tiny(), policy.replace("%s", more), known=known, inside=inside)
        assert found.packages == ((jar.name, jar.purl),)
        assert of(tiny(), policy.replace("%s", more), known=known) == ()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("status: not_affected", "not_affected needs a justification"),
        ("justification: component_not_present", "under_investigation has no justification"),
        ("status: affected", "affected needs an action"),
        ("status: fixed", "'fixed'"),
        ("status: not_affected, justification: trust_us", "'trust_us'"),
    ],
)
def test_a_statement_that_vex_does_not_have_is_refused(entry: str, message: str) -> None:
    text = f"vulnerabilities: [{{id: C, why: w, until: 2027-03-31, {entry}}}]"
    with pytest.raises(InvalidDefinition, match=message):
        parse_policy(text, file="release.yaml")


def test_an_exception_that_has_ended_refuses_the_release() -> None:
    policy = "vulnerabilities: [{id: CVE-1, why: not called, until: 2027-03-31}]"
    assert len(of(tiny(), policy, date(2027, 3, 31))) == 1
    with pytest.raises(ValidationFailed, match="no longer accepted") as caught:
        of(tiny(), policy, LATER)
    assert caught.value.why == "CVE-1: 2027-03-31 was its last day (not called)"
    # Of a low level, too; and where nobody has looked whether it is still there.
    low = parse_advisories([("1", advisory("CVE-1", ("PyPI", "numpy"), {"introduced": "0"}))])
    for known in (low, None):
        with pytest.raises(ValidationFailed, match="no longer accepted"):
            of(tiny(), policy, LATER, known=known)
    # What was fixed, or is of another image, needs no exception.
    fixed = [{"introduced": "0"}, {"fixed": "1.26.4"}]
    gone = parse_advisories([("1", advisory("CVE-1", ("PyPI", "numpy"), *fixed))])
    assert of(tiny(), policy, LATER, known=gone) == ()
    elsewhere = policy.replace("until", "packages: [other], until")
    assert of(tiny(), elsewhere, LATER, known=None) == ()


def test_an_exception_for_some_packages_is_none_for_others() -> None:
    policy = parse_policy(
        "vulnerabilities: [{id: A, why: w, until: 2027-03-31, packages: [Num.Py]}]", file="r"
    )
    assert policy.accepts(["A"], "num-py", DAY)
    assert not policy.accepts(["A"], "scipy", DAY)


def test_the_document_is_openvex() -> None:
    digest = "sha256:" + "1" * 64
    about = of(tiny())
    words = {"author": "me", "at": "2026-11-27T10:00:00Z", "tool": "0.1.0"}
    said = json.loads(attested("team/ml", digest, about, **words))
    assert attested("team/ml", digest, about, **words) == attested(
        "team/ml", digest, about, **words
    )
    assert said["predicateType"] == "https://openvex.dev/ns"
    assert said["subject"][0]["digest"] == {"sha256": "1" * 64}
    assert said["predicate"]["author"] == "me"
    first, second = said["predicate"]["statements"]
    (product,) = first.pop("products")
    assert product["identifiers"] == {"purl": f"pkg:oci/ml@sha256:{'1' * 64}"}
    assert product["subcomponents"] == [{"@id": "pkg:pypi/numpy@1.26.4"}]
    assert first == {
        "vulnerability": {"name": "CVE-1", "aliases": ["GHSA-1"]},
        "status": "not_affected",
        "justification": "vulnerable_code_not_in_execute_path",
        "status_notes": "nothing calls numpy.distutils (accepted until 2027-03-31)",
    }
    assert second["action_statement"] == "set no password in a URL"
    assert "justification" not in second


# in a release


@pytest.fixture
def accepting(toy: Candidate) -> Candidate:
    policy = parse_policy(POLICY, file="release.yaml")
    found = excepted(
        toy.lock, "cpu", policy, (), inside=NOTHING_INSIDE, looked=False, today=DAY, where="x"
    )
    assert [e.packages for e in found] == [(("g:toy", "pkg:maven/g/toy@1"),)]
    return replace(toy, excepted=found, author=policy.author)


def test_a_release_says_what_it_accepts_and_verifies(
    registry: Registry, accepting: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    release(registry, accepting, key, tmp_path / "s")
    found = answers(registry, "0.1.0-ml-cpu", key)
    assert failed(found) == {}
    assert found["vex"].told == "1 affected; to be reviewed by 2027-01-31"
    text = notes(
        "0.1.0-ml",
        [("cpu", "cpu", accepting.lock, accepting.outcome, accepting.digest)],
        step(None, accepting.lock),
        None,
        accepted=[one.to_text() for one in accepting.excepted],
    )
    line = "- CVE-2 in g:toy: affected; there is no fix yet. set no password in a URL"
    assert f"{line} (accepted until 2027-01-31)" in text.splitlines()
    assert answers(registry, "0.1.0-ml-cpu", None)["vex"].status == "not-run"


@pytest.mark.parametrize("today", ["2027-01-31", "2027-02-01"])
def test_an_image_is_supported_as_long_as_what_it_was_released_with_is_accepted(
    registry: Registry, accepting: Candidate, key: SigningKey, tmp_path: Path, today: str
) -> None:
    release(registry, accepting, key, tmp_path / "s")
    day = date.fromisoformat(today)
    found = answers(registry, "0.1.0-ml-cpu", key, ("supported",), day)["supported"]
    if day <= date(2027, 1, 31):
        assert (found.status, found.told) == ("passed", "until 2027-01-31")
    else:
        assert found.status == "failed" and "CVE-2 until 2027-01-31" in found.told


def test_the_first_of_two_last_days_of_one_vulnerability_counts(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    """It may be accepted for one package until a day, and for another one until another day."""
    lock = replace(toy.lock, jars=(*toy.lock.jars, replace(toy.lock.jars[0], name="g:more")))
    entries = ", ".join(
        f"{{id: CVE-1, why: w, until: {until}, packages: ['{package}']}}"
        for package, until in (("g:toy", "2026-12-31"), ("g:more", "2027-06-30"))
    )
    text = f"vulnerabilities: [{entries}]"
    made = replace(toy, excepted=of(lock, text, known=None))
    release(registry, made, key, tmp_path / "s")

    def told(day: date) -> str:
        return answers(registry, "0.1.0-ml-cpu", key, ("supported",), day)["supported"].told

    assert told(date(2026, 12, 31)) == "until 2026-12-31"
    assert told(date(2027, 1, 1)).endswith("(CVE-1 until 2026-12-31)")


def test_nothing_accepted_is_no_document(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    release(registry, toy, key, tmp_path / "s")
    assert (
        answers(registry, "0.1.0-ml-cpu", key)["vex"].told == "no known vulnerability was accepted"
    )


def test_a_statement_that_was_changed_or_removed_is_refused(
    registry: Registry, accepting: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    release(registry, accepting, key, tmp_path / "s")

    def innocent(envelope: bytes) -> bytes:
        value = json.loads(envelope)
        payload = base64.b64decode(value["payload"]).replace(b'"affected"', b'"not_affected"')
        return json.dumps(value | {"payload": base64.b64encode(payload).decode()}).encode()

    replace_document(registry, names.VEX, innocent)
    wrong = f"{names.VEX} is another one than was released"
    told = failed(answers(registry, "0.1.0-ml-cpu", key))
    assert told["documents"] == told["vex"] == wrong
    for digest, (_, content) in list(registry.manifests[PATH].items()):
        if names.VEX.encode() in content and b'"subject"' in content:
            del registry.manifests[PATH][digest]
    told = failed(answers(registry, "0.1.0-ml-cpu", key))
    assert told["vex"].startswith(f"{names.VEX} is missing")


@pytest.mark.parametrize("what", ["image", "status"])
def test_whoever_has_the_key_cannot_attach_what_was_said_of_another(
    registry: Registry,
    accepting: Candidate,
    key: SigningKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    def other(repository: str, digest: str, about: Any, **words: Any) -> bytes:
        if what == "image":
            digest = "sha256:" + "2" * 64
        else:
            about = [replace(o, entry=replace(o.entry, status="not_affected")) for o in about]
        return attested(repository, digest, about, **words)

    monkeypatch.setattr("mlruntime.release.vex.attested", other)
    why = {"image": "about another image", "status": "does not say what the release has accepted"}
    with pytest.raises(ValidationFailed, match=why[what]):
        release(registry, accepting, key, tmp_path / "s")


def test_it_is_signed_and_found_by_its_type(
    registry: Registry, accepting: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    release(registry, accepting, key, tmp_path / "s")
    found = [json.loads(c) for _, c in registry.manifests[PATH].values() if b"vex.intoto" in c]
    (manifest,) = {m["layers"][0]["digest"]: m for m in found if "subject" in m}.values()
    assert manifest["artifactType"] == "application/vnd.dsse.envelope.v1+json"
    envelope = registry.repository(PATH)[manifest["layers"][0]["digest"]]
    said = opened(envelope, key.public, what=names.VEX)
    assert said["predicate"]["author"] == "ml-platform@example.org"
