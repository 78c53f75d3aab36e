"""Releasing a toy image into a registry: there whole, or not seen."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from mlruntime.definitions.lifecycle import Lifecycle
from mlruntime.documents.oci import INDEX_TYPE, Document
from mlruntime.errors import (
    HashMismatch,
    Unavailable,
    UsageError,
    ValidationFailed,
)
from mlruntime.host.command import run
from mlruntime.lock.model import Flavour
from mlruntime.release.channels import Record, parse_record
from mlruntime.release.documents import Candidate
from mlruntime.release.publishing import dates_of, push_image
from mlruntime.release.signing import SigningKey
from mlruntime.release.tagging import read_record, write_record
from mlruntime.workflows.release.candidates import revision
from mlruntime.workflows.release.publishing import publish
from mlruntime.workflows.release.pulls import pulls

from tests.unit.registries import Registry
from tests.unit.release.helpers import (
    NOW,
    PATH,
    STEPS,
    answers,
    failed,
    opened,
    release,
)
from tests.unit.toys import candidate, lock_of


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
