"""Releasing a toy image into a registry, and whether what a stranger gets is what was released."""

import json
import re
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cli import main
from mlruntime.definitions.lifecycle import Lifecycle
from mlruntime.documents.oci import INDEX_TYPE, Document
from mlruntime.errors import (
    HashMismatch,
    InvalidDefinition,
    Unavailable,
    UsageError,
    ValidationFailed,
    ValidationIncomplete,
)
from mlruntime.fetch.web import Web
from mlruntime.host.command import run
from mlruntime.image.difference import DEFAULT_VARIANT
from mlruntime.image.files import different_files
from mlruntime.lock.model import Flavour, Lock
from mlruntime.registry.client import Repository
from mlruntime.registry.names import parse_name
from mlruntime.registry.referrers import Attachment, attach
from mlruntime.release import documents as names
from mlruntime.release.advisories import parse_advisories
from mlruntime.release.attribution import attribute
from mlruntime.release.channels import CHANNELS, Record, parse_record
from mlruntime.release.checking import Answer, check
from mlruntime.release.documents import Candidate
from mlruntime.release.notes import notes
from mlruntime.release.policy import must_be_proven, parse_policy
from mlruntime.release.publishing import dates_of, push_image
from mlruntime.release.sbom import cyclonedx, packages, spdx
from mlruntime.release.signing import SigningKey, private_key, public_key, signature_tag
from mlruntime.release.sources import LayoutSource, RegistrySource, pull
from mlruntime.release.statements import purl
from mlruntime.release.tagging import read_record, write_record
from mlruntime.release.versions import parse_version, step
from mlruntime.release.vulnerabilities import must_be_safe, to_json, vulnerabilities
from mlruntime.validation.reading import parse_report
from mlruntime.workflows.release.candidates import revision
from mlruntime.workflows.release.channels import move, retired, rolled_back
from mlruntime.workflows.release.inputs import read_advisories
from mlruntime.workflows.release.publishing import publish
from mlruntime.workflows.release.pulls import pulls
from mlruntime.workflows.signing import key_of_command, key_of_file

from tests.unit.lock.test_lock import tiny
from tests.unit.registries import Registry, debian_registry, running, sha256
from tests.unit.registry.test_registry import sources
from tests.unit.toys import PASSED, candidate, key_pem, lock_of, new_key, report_of

NOW = "2026-11-27T12:00:00Z"
TODAY = date(2026, 11, 27)
PATH = "team/ml"


@contextmanager
def opened(registry: Registry, path: str = PATH) -> Iterator[Repository]:
    with Web(sources(), pauses=(0.0,), sleep=lambda _: None) as web:
        yield Repository(web, parse_name(f"{registry.address}/{path}"), lambda _: None)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running(Registry()) as found:
        yield found


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return new_key()


@pytest.fixture
def toy(tmp_path: Path) -> Candidate:
    return candidate(tmp_path / "store")


def release(
    registry: Registry,
    made: Candidate,
    key: SigningKey,
    scratch: Path,
    after: Callable[[str], None] = lambda _: None,
) -> str:
    scratch.mkdir(exist_ok=True)
    with opened(registry) as there:
        found = publish(
            there, (made,), key, now=NOW, scratch=scratch, say=lambda _: None, after=after
        )
    return found.version.text


def answers(
    registry: Registry,
    tag: str,
    key: SigningKey | None,
    require: tuple[str, ...] = ("cluster-tested",),
    today: date = TODAY,
) -> dict[str, Answer]:
    with opened(registry) as there:
        source = RegistrySource(there)
        manifest = source.manifest(tag)
        assert manifest is not None
        found = check(
            source, manifest, key=key.public if key else None, today=today, tag=tag, require=require
        )
    return {answer.name: answer for answer in found}


def failed(found: dict[str, Answer]) -> dict[str, str]:
    return {a.name: a.told for a in found.values() if a.status == "failed"}


# what may be released


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


# versions


@pytest.mark.parametrize(
    ("components", "size"),
    [
        ({}, "none"),
        ({"spark": "3.5.10"}, "patch"),
        ({"spark": "3.6.0"}, "minor"),
        ({"spark": "4.0.0"}, "major"),
        ({"python": "3.12"}, "major"),
        ({"keras": "3.0"}, "minor"),  # it was not there before
    ],
)
def test_the_version_follows_from_what_changed(components: dict[str, str], size: str) -> None:
    before = lock_of()
    after = replace(
        before, components=tuple(sorted((dict(before.components) | components).items()))
    )
    assert step(before, after).size == size


def test_newer_dependencies_are_a_patch_and_are_named() -> None:
    before = lock_of()
    jar = replace(before.jars[0], version="2", sha256="f" * 64)
    found = step(before, replace(before, jars=(jar,)))
    assert (found.size, found.reasons) == ("patch", ("g:toy 1 → 2",))
    assert step(None, before).reasons == ("the first version",)


def test_versions_are_read_and_sorted() -> None:
    versions = [parse_version("6.0-ml", f"6.0.{n}-ml") for n in (10, 9)]
    assert [v.text for v in sorted(versions)] == ["6.0.9-ml", "6.0.10-ml"]
    assert versions[0].tag("cpu") == "6.0.10-ml-cpu"
    for wrong in ("6.1.0-ml", "6.0.x-ml", "6.0-ml", "6.0.1"):
        with pytest.raises(UsageError):
            parse_version("6.0-ml", wrong)


# documents


def test_the_sbom_has_all_of_the_lock_and_is_the_same_each_time(toy: Candidate) -> None:
    found = packages(toy.lock, "cpu", {}, {})
    about = ("toy", toy.digest, "0.1.0-ml", toy.lock, found)
    bom = json.loads(cyclonedx(*about))
    assert bom["specVersion"] == "1.6"
    assert [c["purl"] for c in bom["components"]] == ["pkg:maven/g/toy@1"]
    assert cyclonedx(*about) == cyclonedx(*about) and spdx(*about) == spdx(*about)
    assert {p["name"] for p in json.loads(spdx(*about))["packages"]} == {"toy", "g:toy"}


def test_a_jar_with_a_classifier_is_known_by_its_project(toy: Candidate) -> None:
    (jar,) = toy.lock.jars
    shaded = replace(jar, name="g:toy:shaded", filename="toy-1-shaded.jar")
    assert purl(shaded, {}) == "pkg:maven/g/toy@1?classifier=shaded&type=jar"


def test_the_sbom_and_the_notes_say_what_files_of_a_package_are_left_out(toy: Candidate) -> None:
    what = "toy/include/*: headers"
    wheel = replace(toy.lock.jars[0], kind="wheel", name="toy", origin="pypi")
    lock = replace(toy.lock, python=(wheel,))
    found = packages(lock, "cpu", {}, {"toy": what, "g:toy": "is a jar"})
    about = ("image", toy.digest, "0.1.0-ml", lock, found)
    told = {c["name"]: c.get("properties") for c in json.loads(cyclonedx(*about))["components"]}
    assert told == {"toy": [{"name": "mlruntime:left-out", "value": what}], "g:toy": None}
    told = {p["name"]: p.get("comment") for p in json.loads(spdx(*about))["packages"]}
    assert told == {"image": None, "toy": f"left out: {what}", "g:toy": None}
    outcome = parse_report(json.dumps(report_of(toy.digest, lock)), file="r")
    images = [("cpu", "cpu", lock, outcome, toy.digest)]
    text = notes("0.1.0-ml", images, step(lock, lock), lock, left_out={"toy": what})
    assert f"- toy comes without {what}" in text.splitlines()


def test_notes_say_what_is_new_and_what_was_not_tested(toy: Candidate) -> None:
    before = toy.lock
    after = lock_of("3.5.10")
    policy = parse_policy("not-run: [{check: gpu, why: no GPU here}]", file="r")
    outcome = parse_report(
        json.dumps(report_of(toy.digest, after, not_run=("gpu.nccl",))), file="r"
    )
    images = [("cpu", "cpu", after, outcome, toy.digest)]
    text = notes("0.1.1-ml", images, step(before, after), before, policy.not_run)
    for line in (
        "# 0.1.1-ml",
        "- spark 3.5.9 → 3.5.10",
        "| spark | 3.5.10 |",
        "- not tested: `gpu`. no GPU here",
        "- `cpu`: 4 of 5 checks passed on 2 workers; not run: `gpu.nccl`",
    ):
        assert line in text.splitlines(), line


# vulnerabilities


def advisory(ident: str, package: tuple[str, str], *events: dict[str, str], **more: Any) -> bytes:
    ecosystem, name = package
    affected = {
        "package": {"ecosystem": ecosystem, "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
    }
    return json.dumps({"id": ident, "affected": [affected], **more}).encode()


GRAVE = {"database_specific": {"severity": "HIGH"}}


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


# keys


def test_keys_that_cannot_be_used_are_told_apart(tmp_path: Path) -> None:
    secret = key_pem(b"pass phrase")
    with pytest.raises(UsageError, match="none was given"):
        private_key(secret, None, file="k")
    with pytest.raises(UsageError, match="passphrase is wrong"):
        private_key(secret, b"other", file="k")
    with pytest.raises(UsageError, match="no private key"):
        private_key(b"-----BEGIN", None, file="k")
    with pytest.raises(UsageError, match="no public key"):
        public_key(b"x", file="k")
    path = tmp_path / "k"
    path.write_bytes(secret)
    (tmp_path / "p").write_text("pass phrase\n")
    assert key_of_file(path, tmp_path / "p", None, {}).sign(b"x")
    environ = {"MLRUNTIME_KEY_PASSWORD": "pass phrase"}
    assert key_of_file(path, None, None, environ).sign(b"x")
    assert environ == {}, "tools that are run later would get it"
    environ = {"MLRUNTIME_KEY_PASSWORD": "unused"}
    assert key_of_file(path, tmp_path / "p", None, environ).sign(b"x") and environ == {}


@pytest.mark.starts
def test_a_command_may_sign_and_is_checked(tmp_path: Path) -> None:
    key = key_of_file(_written(tmp_path / "k", key_pem()), None, "true", {})
    (tmp_path / "k.pub").write_text(key.public.pem)
    tool = tmp_path / "kms"
    tool.write_text(
        f"#!/bin/sh\nbase64 -d >'{tmp_path}/m'\n"
        f"openssl dgst -sha256 -sign '{tmp_path}/k' '{tmp_path}/m' | base64 -w0\n"
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    signing = key_of_command(str(tool), tmp_path / "k.pub")
    assert key.public.accepts(signing.sign(b"payload"), b"payload")
    with pytest.raises(UsageError, match="no signature of this key"):
        key_of_command("echo AAAA", tmp_path / "k.pub").sign(b"payload")


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# releasing


def test_a_release_is_there_whole_and_verifies(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    assert release(registry, toy, key, tmp_path / "s") == "0.1.0-ml"
    tags = {t for t in registry.manifests[PATH] if ":" not in t and not t.startswith("sha256-")}
    assert tags == {"0.1.0-ml", "0.1.0-ml-cpu", "0.1-ml-candidate", "0.1-ml-cpu-candidate",
                    "0.1-ml-record"}  # fmt: skip
    for tag in ("0.1.0-ml-cpu", "0.1-ml-cpu-candidate"):
        found = answers(registry, tag, key)
        assert {a.status for a in found.values()} == {"passed"}, failed(found)
        assert len(found) == 10
    unsigned = answers(registry, "0.1.0-ml-cpu", None)
    assert failed(unsigned) == {}
    assert {n for n, a in unsigned.items() if a.status == "passed"} == {"image"}


def test_a_registry_without_referrers_does_as_well(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    registry.referrers = False
    release(registry, toy, key, tmp_path / "s")
    assert failed(answers(registry, "0.1.0-ml-cpu", key)) == {}


def test_releasing_again_changes_nothing(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    release(registry, toy, key, tmp_path / "s")
    before = dict(registry.manifests[PATH])
    received = registry.received
    assert release(registry, toy, key, tmp_path / "s") == "0.1.0-ml"
    assert registry.manifests[PATH] == before
    assert registry.received == received + _manifest_bytes(registry, toy)


def _manifest_bytes(registry: Registry, toy: Candidate) -> int:
    """Return the bytes of what is pushed again: manifest and index, which cost nothing."""
    index = registry.manifests[PATH]["0.1.0-ml"][1]
    return len(toy.image.manifest.content) + len(index)


def test_layers_of_another_repository_are_mounted(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    with opened(registry, "team/old") as old:
        push_image(old, toy.image, toy.blobs)
    (tmp_path / "s").mkdir()
    says: list[str] = []
    with opened(registry) as there:
        publish(
            there,
            (toy,),
            key,
            now=NOW,
            scratch=tmp_path / "s",
            say=says.append,
            mount_from="team/old",
        )
    assert f"cpu: blobs 0 there, {len(toy.image.layers) + 1} mounted, 0 sent" in says


def test_flavours_are_released_beside_core(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    """One version, one index, a tag for each image; what names no flavour is of core."""
    added = Flavour(
        name="notebook", request="sha256:" + "3" * 64, components=(), omitted=(), python=(),
        jars=(), variants=(),
    )  # fmt: skip
    lock = replace(toy.lock, flavours=(added,))
    notebook = candidate(tmp_path / "store", lock)
    assert notebook.digest != toy.digest
    (tmp_path / "s").mkdir()
    with opened(registry) as there:
        made = (notebook, toy)
        publish(
            there,
            tuple(sorted(made, key=lambda c: c.tag)),
            key,
            now=NOW,
            scratch=tmp_path / "s",
            say=lambda _: None,
        )
    tags = {t for t in registry.manifests[PATH] if t.startswith("0.1.0-ml")}
    assert tags == {"0.1.0-ml", "0.1.0-ml-cpu", "0.1.0-ml-cpu-notebook"}
    index = json.loads(registry.manifests[PATH]["0.1.0-ml"][1])
    named = [m["annotations"]["io.mlruntime.variant"] for m in index["manifests"]]
    assert named == ["cpu", "cpu-notebook"]
    for tag in ("0.1.0-ml-cpu", "0.1.0-ml-cpu-notebook"):
        found = answers(registry, tag, key)
        assert failed(found) == {}
        assert found["release"].told == tag.replace("0.1.0-ml-", "0.1.0-ml, ")


def test_a_release_tells_how_long_it_is_supported(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    """No image has the dates, so they can change: a version that was released keeps its own."""
    dates = Lifecycle(released=date(2026, 1, 15), end_of_support=date(2027, 6, 30))
    release(registry, replace(toy, lifecycle=dates), key, tmp_path / "s")
    found = answers(registry, "0.1.0-ml-cpu", key)
    assert found["release"].told == "0.1.0-ml, cpu, supported until 2027-06-30"
    index = json.loads(registry.manifests[PATH]["0.1.0-ml"][1])
    assert index["annotations"] == {
        "org.opencontainers.image.version": "0.1.0-ml",
        "io.mlruntime.lifecycle.released": "2026-01-15",
        "io.mlruntime.lifecycle.end-of-support": "2027-06-30",
    }
    assert index["manifests"][0]["digest"] == toy.digest
    text = next(b for b in registry.repository(PATH).values() if b.startswith(b"# 0.1.0-ml"))
    assert "- last day of support: 2027-06-30. Until then there are fixes." in (
        text.decode().splitlines()
    )
    before = dict(registry.manifests[PATH])
    longer = replace(dates, end_of_support=date(2028, 6, 30))
    release(registry, replace(toy, lifecycle=longer), key, tmp_path / "s")
    assert registry.manifests[PATH] == before


def test_a_release_tells_what_hosts_with_the_last_version_pull(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    layers = {layer.name: layer.blob.size for layer in toy.image.layers}
    with opened(registry) as there:
        (whole,) = pulls(there, Record(runtime="0.1-ml"), (toy,))
    assert (whole.size, whole.layers, whole.before) == (sum(layers.values()), len(layers), None)
    assert whole.largest == max(layers.items(), key=lambda one: one[1])
    assert whole.new == whole.size
    release(registry, toy, key, tmp_path / "s")
    after = candidate(tmp_path / "store", settings=b"2\n")
    changed = {layer.name: layer.blob.size for layer in after.image.layers if not layer.cached}
    assert changed.keys() == {"settings"}
    with opened(registry) as there:
        (part,) = pulls(there, read_record(there, "0.1-ml"), (after,))
    assert (part.before, part.new) == ("0.1.0-ml", changed["settings"])
    names = list(layers)
    above = [x.blob.size for x in after.image.layers[names.index("settings") :]]
    assert len(above) > 1 and part.above == sum(above)
    release(registry, after, key, tmp_path / "s")
    blobs = registry.repository(PATH).values()
    text = next(b for b in blobs if b.startswith(b"# 0.1.1-ml")).decode()
    assert f"- `cpu`: {part.to_text()}" in text.splitlines()
    assert "hosts with 0.1.0-ml pull" in part.to_text()
    # Told after the release as before it, and when the registry has lost the last image.
    with opened(registry) as there:
        assert pulls(there, read_record(there, "0.1-ml"), (after,)) == (part,)
        del registry.manifests[PATH][toy.digest]
        (lost,) = pulls(there, read_record(there, "0.1-ml"), (after,))
    assert (lost.before, lost.new) == (None, lost.size)


@pytest.mark.parametrize(
    ("today", "told"), [("2027-06-30", None), ("2027-07-01", "its support has ended on 2027-06-30")]
)
def test_who_asks_for_support_is_told_when_it_has_ended(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
    today: str,
    told: str | None,
) -> None:
    dates = Lifecycle(released=date(2026, 1, 15), end_of_support=date(2027, 6, 30))
    release(registry, replace(toy, lifecycle=dates), key, tmp_path / "s")
    day = date.fromisoformat(today)
    found = answers(registry, "0.1.0-ml-cpu", key, ("supported",), day)
    assert failed(found) == ({"supported": told} if told else {})
    assert told or found["supported"].told == "until 2027-06-30"
    assert answers(registry, "0.1.0-ml-cpu", None, ("supported",))["supported"].status == "not-run"
    assert failed(answers(registry, "0.1.0-ml-cpu", key, (), day)) == {}  # who does not ask


STEPS = ("image cpu", "index", "documents cpu", "signature cpu", "verified", "record", "tags")


@pytest.mark.parametrize("last", STEPS)
def test_a_release_that_is_cut_off_is_finished_by_the_same_command(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path, last: str
) -> None:
    def stop(step: str) -> None:
        if step == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        release(registry, toy, key, tmp_path / "s", stop)
    seen = {t for t in registry.manifests.get(PATH, {}) if t.startswith("0.1.")}
    if last != "tags":
        assert seen == set(), "it has a name before it was verified"
    assert release(registry, toy, key, tmp_path / "s") == "0.1.0-ml"
    assert failed(answers(registry, "0.1.0-ml-cpu", key)) == {}
    with opened(registry) as there:
        record = read_record(there, "0.1-ml")
    assert [v.version.text for v in record.versions] == ["0.1.0-ml"]
    documents = [c for _, c in registry.manifests[PATH].values() if b'"subject"' in c]
    assert len(set(documents)) == 10, "documents are attached twice"


def test_the_next_version_and_the_change_that_is_too_large(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    release(registry, toy, key, tmp_path / "s")
    patch = candidate(tmp_path / "store", lock_of("3.5.10"))
    assert release(registry, patch, key, tmp_path / "s") == "0.1.1-ml"
    notes_ = answers(registry, "0.1.1-ml-cpu", key)
    assert failed(notes_) == {}
    minor = candidate(tmp_path / "store", lock_of("3.6.0"))
    with pytest.raises(UsageError, match="this is a minor change") as caught:
        release(registry, minor, key, tmp_path / "s")
    assert "spark 3.5.10 → 3.6.0" in (caught.value.why or "")


@pytest.mark.parametrize(
    ("now", "what"),
    [
        ("2026-11-19T23:59:59Z", "the lock of 0.1-ml"),
        ("2026-11-27T09:59:59Z", "the validation of 0.1-ml-cpu"),
        ("2026-11-27T11:59:59Z", "the release of 0.1.0-ml"),
    ],
)
def test_a_clock_that_is_behind_is_noticed(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path, now: str, what: str
) -> None:
    (tmp_path / "s").mkdir()
    if what.startswith("the release"):
        release(registry, toy, key, tmp_path / "s")
    before, received = dict(registry.manifests.get(PATH, {})), registry.received
    with opened(registry) as there, pytest.raises(Unavailable, match="clock is wrong") as caught:
        publish(there, (toy,), key, now=now, scratch=tmp_path / "s", say=lambda _: None)
    assert what in (caught.value.why or "")
    assert (registry.manifests.get(PATH, {}), registry.received) == (before, received)


def test_who_asks_for_a_commit_gets_it(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    release(registry, toy, key, tmp_path / "s")
    assert answers(registry, "0.1.0-ml-cpu", key, ("from-commit",))["from-commit"].told == "a" * 40
    made = replace(toy, built=replace(toy.built, revision=None))
    release(registry, made, key, tmp_path / "s")
    told = failed(answers(registry, "0.1.0-ml-cpu", key, ("from-commit",)))
    assert told["from-commit"].startswith("the provenance names no git commit")
    assert failed(answers(registry, "0.1.0-ml-cpu", key)) == {}


@pytest.mark.starts
def test_the_commit_is_that_of_the_definitions_and_lost_only_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "test")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@example.org")
    says: list[str] = []
    assert revision(tmp_path, says.append) is None
    assert says.pop().startswith("the provenance names no git commit: env exited")
    root = tmp_path / "checkout/definitions"
    (root / "runtimes/6.0-ml").mkdir(parents=True)
    (root / "matrix.yaml").write_text("a\n")
    (root / "runtimes/6.0-ml/runtime.yaml").write_text("a\n")
    git = ["git", "-C", str(tmp_path / "checkout")]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        run([*git, *words])
    head = run([*git, "rev-parse", "HEAD"]).strip()
    assert revision(root, says.append) == head
    (root / "report.json").write_text("{}")
    (tmp_path / "checkout/README").write_text("new\n")
    assert revision(root, says.append) == head and says == []
    (root / "images").mkdir()
    (root / "images/new.yaml").write_text("new\n")
    assert revision(root, says.append) is None
    assert says == ["the provenance names no git commit: not committed are definitions/images/"]
    run(["rm", "-r", str(root / "images")])
    says.clear()
    (tmp_path / "checkout/.git/info/exclude").write_text("*.log\n*.local.yaml\n*.pyc\n")
    (root / "runtimes.log").write_text("")
    (root / "runtimes/__pycache__").mkdir()
    (root / "runtimes/__pycache__/a.pyc").write_bytes(b"")
    assert revision(root, says.append) == head and says == []
    (root / "runtimes/6.0-ml/more.local.yaml").write_text("new\n")
    assert revision(root, says.append) is None
    assert says[0].endswith("not committed are definitions/runtimes/6.0-ml/more.local.yaml")


@pytest.mark.parametrize("released", ["yesterday", "2026-11-27", "2026-11-27T12:00:00"])
def test_a_record_with_a_moment_that_is_none_is_refused(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path, released: str
) -> None:
    release(registry, toy, key, tmp_path / "s")
    with opened(registry) as there:
        text = read_record(there, "0.1-ml").to_json()
    edited = text.replace(f'"released": "{NOW}"', f'"released": "{released}"')
    with pytest.raises(HashMismatch, match=f"'{released}' is not a UTC timestamp") as caught:
        parse_record(edited, file="r")
    assert caught.value.where == "r: versions[0].released"


def test_an_index_with_a_date_that_is_none_is_refused() -> None:
    value = {"annotations": {"io.mlruntime.lifecycle.end-of-support": "2027-02-30"}}
    with pytest.raises(HashMismatch, match="has dates of support that are none"):
        dates_of(Document.of(value, INDEX_TYPE))


def test_a_tag_that_is_taken_is_never_moved(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    kind, content = "application/vnd.oci.image.manifest.v1+json", b'{"layers": []}'
    registry.manifests[PATH] = {"0.1.0-ml-cpu": (kind, content)}
    with pytest.raises(UsageError, match="never moves"):
        release(registry, toy, key, tmp_path / "s")
    assert registry.received == 0


def test_two_releases_at_once_are_noticed(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    release(registry, toy, key, tmp_path / "s")
    with opened(registry) as there:
        record = read_record(there, "0.1-ml")
        with pytest.raises(UsageError, match="at the same time"):
            write_record(there, record, Record(runtime="0.1-ml"))


def test_a_registry_that_changes_bytes_gets_no_tag(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> None:
    largest = max(toy.image.layers, key=lambda layer: layer.blob.size).blob.digest
    registry.trouble += [("GET", f"/blobs/{largest}", "lie")] * 3
    with pytest.raises(ValidationFailed, match="does not come back"):
        release(registry, toy, key, tmp_path / "s")
    assert not [t for t in registry.manifests[PATH] if t.startswith("0.1")]


# channels


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


# sabotage: each kind of tampering is refused, for the right reason


@pytest.fixture
def released(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> Iterator[Registry]:
    release(registry, toy, key, tmp_path / "s")
    yield registry


def _put(registry: Registry, tag: str, content: bytes) -> None:
    kind = "application/vnd.oci.image.manifest.v1+json"
    for name in (tag, sha256(content)):
        registry.manifests[PATH][name] = (kind, content)


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
    _put(released, "0.1.0-ml-cpu", json.dumps(manifest).encode())
    assert "not signed" in failed(answers(released, "0.1.0-ml-cpu", key))["signature"]


def _replace_document(registry: Registry, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a document of the image: its blob, and the manifest that attaches it."""
    for digest, (_, content) in list(registry.manifests[PATH].items()):
        value = json.loads(content)
        if "subject" not in value or value["annotations"].get(
            "org.opencontainers.image.title"
        ) != name:  # fmt: skip
            continue
        del registry.manifests[PATH][digest]
        new = change(registry.repository(PATH)[value["layers"][0]["digest"]])
        registry.repository(PATH)[sha256(new)] = new
        value["layers"][0] |= {"digest": sha256(new), "size": len(new)}
        _put(registry, sha256(json.dumps(value).encode()), json.dumps(value).encode())


@pytest.mark.parametrize("name", [names.SBOM, names.LOCK, names.REPORT, names.NOTES])
def test_a_swapped_document_is_refused(released: Registry, key: SigningKey, name: str) -> None:
    _replace_document(released, name, lambda old: old.replace(b"toy", b"yot") + b" ")
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

    _replace_document(released, name, change)
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


# layouts, offline, and the command line


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
