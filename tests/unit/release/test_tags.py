"""Tags of versions never move, those of channels follow the record, whatever happens meanwhile."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.errors import Unavailable, UsageError
from mlruntime.release.channels import CHANNELS, Record, Released
from mlruntime.release.documents import Candidate
from mlruntime.release.signing import SigningKey
from mlruntime.release.tagging import read_record, write_record
from mlruntime.release.versions import RuntimeVersion
from mlruntime.workflows.release.channels import move, retired, rolled_back

from tests.unit.registries import Registry, debian_registry, sha256
from tests.unit.release.helpers import NOW, PATH, STEPS, answers, failed, opened, release
from tests.unit.toys import candidate, lock_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def named(registry: Registry) -> dict[str, str]:
    """Return the digest of each tag that is a version's or a channel's."""
    return {
        tag: sha256(content)
        for tag, (_, content) in registry.manifests[PATH].items()
        if tag.startswith("0.1") and not tag.endswith("-record")
    }


def at(step: str, what: Callable[[], object]) -> Callable[[str], None]:
    """Return what a release tells its steps to, so that something happens after one of them."""

    def after(done: str) -> None:
        if done == step:
            what()

    return after


@pytest.mark.parametrize("step", [step for step in STEPS if step not in ("record", "tags")])
def test_of_two_releases_at_once_one_wins_and_the_other_moves_nothing(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
    step: str,
) -> None:
    """Both have seen that there is no version yet; the second ends before the first goes on."""
    other = candidate(tmp_path / "store", lock_of("3.5.10"))
    seen: list[dict[str, str]] = []

    def meanwhile() -> None:
        assert release(registry, other, key, tmp_path / "t") == "0.1.0-ml"
        seen.append(named(registry))

    with pytest.raises(UsageError, match="at the same time") as caught:
        release(registry, toy, key, tmp_path / "s", at(step, meanwhile))
    assert "no tag was written" in (caught.value.hint or "")
    assert seen == [named(registry)]
    assert seen[0]["0.1.0-ml-cpu"] == other.digest
    assert failed(answers(registry, "0.1.0-ml-cpu", key)) == {}
    with opened(registry) as there:
        (only,) = read_record(there, "0.1-ml").versions
    assert dict(only.variants) == {"cpu": other.digest}
    assert release(registry, toy, key, tmp_path / "s") == "0.1.1-ml"
    assert failed(answers(registry, "0.1.1-ml-cpu", key)) == {}


def test_a_version_is_reserved_before_its_tags_are_written(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    other = candidate(tmp_path / "store", lock_of("3.5.10"))

    def meanwhile() -> None:
        assert release(registry, other, key, tmp_path / "t") == "0.1.1-ml"

    assert release(registry, toy, key, tmp_path / "s", at("record", meanwhile)) == "0.1.0-ml"
    tags = named(registry)
    assert (tags["0.1.0-ml-cpu"], tags["0.1.1-ml-cpu"]) == (toy.digest, other.digest)
    assert tags["0.1-ml-cpu-candidate"] == other.digest, "the newest release is the candidate"


def test_a_release_whose_record_was_replaced_writes_no_tag(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    """Another one has looked before the record was written, and writes its own over it."""
    other = candidate(tmp_path / "store", lock_of("3.5.10"))
    seen: list[dict[str, str]] = []

    def meanwhile() -> None:
        del registry.manifests[PATH]["0.1-ml-record"]
        assert release(registry, other, key, tmp_path / "t") == "0.1.0-ml"
        seen.append(named(registry))

    with pytest.raises(UsageError, match=r"somebody else has released 0\.1\.0-ml"):
        release(registry, toy, key, tmp_path / "s", at("record", meanwhile))
    assert seen == [named(registry)]
    assert failed(answers(registry, "0.1.0-ml-cpu", key)) == {}
    assert release(registry, toy, key, tmp_path / "s") == "0.1.1-ml"


def test_a_release_whose_record_was_replaced_later_moves_no_channel(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    def meanwhile() -> None:
        with opened(registry) as there:
            record = read_record(there, "0.1-ml")
            (only,) = record.versions
            others = replace(only, variants=(("cpu", only.index),))
            write_record(there, replace(record, versions=(others,)), record)

    with pytest.raises(UsageError, match=r"somebody else has released 0\.1\.0-ml"):
        release(registry, toy, key, tmp_path / "s", at("tags", meanwhile))
    assert not [tag for tag in named(registry) if tag.endswith("-candidate")]


def test_nothing_comes_between_the_last_look_at_the_record_and_the_write(
    registry: Registry,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    two_versions(registry, key, tmp_path)
    path = f"/v2/{PATH}/manifests/0.1-ml-record"
    old = json.loads(registry.manifests[PATH]["0.1-ml-record"][1])["layers"][0]["digest"]
    registry.requests.clear()
    changed(registry, promoted("0.1.1-ml"))
    write = registry.requests.index(("PUT", path))
    assert registry.requests[write - 2 : write] == [
        ("GET", path),
        ("GET", f"/v2/{PATH}/blobs/{old}"),
    ]


@pytest.mark.parametrize("tag", ["0.1.0-ml-cpu", "0.1.0-ml"])
def test_a_tag_that_is_taken_at_the_last_moment_is_not_moved(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
    tag: str,
) -> None:
    def meanwhile() -> None:
        registry.manifests[PATH][tag] = (MANIFEST, b'{"layers": []}')

    with pytest.raises(UsageError, match="never moves") as caught:
        release(registry, toy, key, tmp_path / "s", at("record", meanwhile))
    assert tag in caught.value.what
    assert registry.manifests[PATH][tag][1] == b'{"layers": []}'


# channels


Change = Callable[[Record], Record]


def two_versions(registry: Registry, key: SigningKey, tmp_path: Path) -> None:
    for spark in ("3.5.9", "3.5.10"):
        release(registry, candidate(tmp_path / "store", lock_of(spark)), key, tmp_path / "s")


def changed(
    registry: Registry,
    change: Change,
    channels: tuple[str, ...] = ("stable",),
    *,
    finish_first: bool = False,
    says: list[str] | None = None,
) -> Record:
    said: list[str] = [] if says is None else says
    with opened(registry) as there:
        return move(
            there, "0.1-ml", channels, change, said.append, finish_first=finish_first
        )  # fmt: skip


def promoted(version: str, channel: str = "stable") -> Change:
    return lambda r: r.moved(channel, r.version(version).version, at=NOW, why="tried")


def back(to: str | None = None) -> Change:
    return lambda r: rolled_back(r, "stable", at=NOW, to=to)


def stable(registry: Registry) -> dict[str, str]:
    """Return which version each tag of the channel stable is at."""
    tags = named(registry)
    versions = {
        tags[f"{v}{rest}"]: v for v in ("0.1.0-ml", "0.1.1-ml") for rest in ("", "-cpu")
        if f"{v}{rest}" in tags
    }  # fmt: skip
    return {t: versions[d] for t, d in tags.items() if t in ("0.1-ml", "0.1-ml-cpu", "0.1-ml-gpu")}


def both(version: str) -> dict[str, str]:
    return {"0.1-ml": version, "0.1-ml-cpu": version}


@pytest.mark.parametrize("written", [0, 1])
def test_a_rollback_that_was_cut_off_is_finished_by_the_same_command(
    registry: Registry,
    key: SigningKey,
    tmp_path: Path,
    written: int,
) -> None:
    two_versions(registry, key, tmp_path)
    changed(registry, promoted("0.1.0-ml"))
    changed(registry, promoted("0.1.1-ml"))
    assert stable(registry) == both("0.1.1-ml")
    writes = [("PUT", f"/manifests/0.1-ml{rest}", "nothing") for rest in ("-record", "-cpu", "")]
    registry.trouble += [*writes[: written + 1], (*writes[written + 1][:2], 403)]
    with pytest.raises(Unavailable):
        changed(registry, back(), finish_first=True)
    assert stable(registry) != both("0.1.0-ml"), "it was not cut off"
    says: list[str] = []
    record = changed(registry, back(), finish_first=True, says=says)
    assert stable(registry) == both("0.1.0-ml")
    assert says[-1].startswith("the last move of stable was cut off")
    assert [m.version.text for m in record.moves if m.channel == "stable" and m.version] == [
        "0.1.0-ml", "0.1.1-ml", "0.1.0-ml"]  # fmt: skip


def record_of(*moves: str | None) -> Record:
    """Return the record of four versions, the channel stable having moved so."""
    numbers = [RuntimeVersion(runtime="0.1-ml", patch=n) for n in range(4)]
    digest = "sha256:" + "1" * 64
    record = Record(
        runtime="0.1-ml",
        versions=tuple(
            Released(version=v, index=digest, variants=(("cpu", digest),), released=NOW)
            for v in numbers
        ),
    )
    for to in moves:
        record = record.moved("stable", numbers[int(to)] if to else None, at=NOW, why="tried")
    return record


@pytest.mark.parametrize(
    ("moves", "retiring", "before"),
    [
        ("01", "", "0"),
        ("010", "", None),  # rolled back: not forward to the one that was bad
        ("0121", "", "0"),
        ("01210", "", None),
        ("0120", "", None),
        ("01213", "", "1"),
        ("012", "1", "0"),
        ("0-", "", "0"),
        ("01-", "1", "0"),
    ],
)
def test_the_version_before_is_the_one_that_a_channel_came_from(
    moves: str, retiring: str, before: str | None
) -> None:
    record = record_of(*(None if to == "-" else to for to in moves))
    for number in retiring:
        version = record.version(f"0.1.{number}-ml").version
        record = record.retiring(version, at=NOW, why="CVE")
    found = record.before("stable")
    assert (found.text if found else None) == (f"0.1.{before}-ml" if before else None)


def test_rolling_back_twice_and_retiring_after_it_do_not_go_forward() -> None:
    record = rolled_back(rolled_back(record_of("0", "1", "2"), "stable", at=NOW), "stable", at=NOW)
    assert record.where("stable") == record.version("0.1.0-ml").version
    with pytest.raises(UsageError, match="no version before"):
        rolled_back(record, "stable", at=NOW)
    record = rolled_back(record_of("0", "1", "2"), "stable", at=NOW)
    record = retired(record, "0.1.1-ml", at=NOW, why="CVE")
    assert record.where("stable") == record.version("0.1.0-ml").version


def test_a_rollback_to_a_version_can_be_repeated(
    registry: Registry,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    two_versions(registry, key, tmp_path)
    changed(registry, promoted("0.1.0-ml"))
    with pytest.raises(UsageError, match=r"stable was never at 0\.1\.1-ml"):
        changed(registry, back("0.1.1-ml"))
    changed(registry, promoted("0.1.1-ml"))
    for _ in range(2):
        changed(registry, back("0.1.0-ml"))
        assert stable(registry) == both("0.1.0-ml")


def test_a_move_meanwhile_is_not_undone_by_one_that_changes_nothing(
    registry: Registry,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    two_versions(registry, key, tmp_path)
    for version in ("0.1.0-ml", "0.1.1-ml"):
        changed(registry, promoted(version))

    def meanwhile(record: Record) -> Record:
        changed(registry, back())
        return promoted("0.1.1-ml")(record)

    record = changed(registry, meanwhile)
    assert record.where("stable") == record.version("0.1.0-ml").version
    assert stable(registry) == both("0.1.0-ml")


def test_a_version_that_was_deleted_at_the_end_of_its_life_is_in_nobodys_way(
    registry: Registry,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    two_versions(registry, key, tmp_path)
    changed(registry, promoted("0.1.1-ml"))
    manifests = registry.manifests[PATH]
    for tag in ("0.1.0-ml", "0.1.0-ml-cpu"):
        del manifests[sha256(manifests.pop(tag)[1])]
    changed(registry, promoted("0.1.1-ml"))
    changed(registry, lambda r: retired(r, "0.1.0-ml", at=NOW, why="its end"), CHANNELS)
    newest = candidate(tmp_path / "store", lock_of("3.5.11"))
    assert release(registry, newest, key, tmp_path / "s") == "0.1.2-ml"
    assert stable(registry) == both("0.1.1-ml")


def test_a_channel_at_no_version_has_no_tags(
    registry: Registry,
    key: SigningKey,
    toy: Candidate,
    tmp_path: Path,
) -> None:
    release(registry, toy, key, tmp_path / "s")
    changed(registry, promoted("0.1.0-ml"))
    change = lambda r: retired(r, "0.1.0-ml", at=NOW, why="CVE")  # noqa: E731
    registry.deletes = False
    says: list[str] = []
    changed(registry, change, CHANNELS, says=says)
    assert len(says) == 4
    for tag, line in zip(("0.1-ml-cpu-candidate", "0.1-ml-candidate"), says, strict=False):
        assert line.startswith(f"{tag} should be gone, and the registry does not delete it (HTTP")
    assert len(named(registry)) == 6
    registry.deletes = True
    changed(registry, change, CHANNELS)
    assert named(registry).keys() == {"0.1.0-ml", "0.1.0-ml-cpu"}
    assert failed(answers(registry, "0.1.0-ml-cpu", key)) == {}, "its image is still there"


def test_a_variant_that_the_next_version_lacks_leaves_its_channel(
    registry: Registry,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    """Otherwise the tag would go on pointing at an image of a version that may be retired."""
    two_versions(registry, key, tmp_path)
    changed(registry, promoted("0.1.0-ml"))
    with opened(registry) as there:
        record = read_record(there, "0.1-ml")
        old, new = record.versions
        more = replace(old, variants=(*old.variants, ("gpu", new.variants[0][1])))
        write_record(there, replace(record, versions=(more, new)), record)
    changed(registry, promoted("0.1.0-ml"))
    assert stable(registry).keys() == {"0.1-ml", "0.1-ml-cpu", "0.1-ml-gpu"}
    changed(registry, promoted("0.1.1-ml"))
    assert stable(registry) == both("0.1.1-ml")


@pytest.mark.starts
@pytest.mark.registry
def test_debian_s_registry_deletes_no_tags_and_that_is_told(
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    with debian_registry(tmp_path / "r", ", delete: {enabled: true}") as address:
        there = Registry(address=address)
        release(there, toy, key, tmp_path / "s")
        says: list[str] = []
        change = lambda r: retired(r, "0.1.0-ml", at=NOW, why="CVE")  # noqa: E731
        changed(there, change, CHANNELS, says=says)
        assert [line.partition(" (")[0] for line in says] == [
            f"{tag} should be gone, and the registry does not delete it"
            for tag in ("0.1-ml-cpu-candidate", "0.1-ml-candidate")
        ]
        assert failed(answers(there, "0.1.0-ml-cpu", key)) == {}
