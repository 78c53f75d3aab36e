"""Tags of versions never move, those of channels follow the record, whatever happens meanwhile."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlruntime.errors import UsageError
from mlruntime.release.documents import Candidate
from mlruntime.release.signing import SigningKey
from mlruntime.release.tagging import read_record

from tests.unit.registries import Registry, sha256
from tests.unit.release.test_release import (
    PATH,
    STEPS,
    answers,
    failed,
    key,  # noqa: F401
    opened,
    registry,  # noqa: F401
    release,
    toy,  # noqa: F401
)
from tests.unit.toys import candidate, lock_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def named(registry: Registry) -> dict[str, str]:  # noqa: F811
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
    registry: Registry,  # noqa: F811
    toy: Candidate,  # noqa: F811
    key: SigningKey,  # noqa: F811
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
    registry: Registry,  # noqa: F811
    toy: Candidate,  # noqa: F811
    key: SigningKey,  # noqa: F811
    tmp_path: Path,
) -> None:
    other = candidate(tmp_path / "store", lock_of("3.5.10"))

    def meanwhile() -> None:
        assert release(registry, other, key, tmp_path / "t") == "0.1.1-ml"

    assert release(registry, toy, key, tmp_path / "s", at("record", meanwhile)) == "0.1.0-ml"
    tags = named(registry)
    assert (tags["0.1.0-ml-cpu"], tags["0.1.1-ml-cpu"]) == (toy.digest, other.digest)
    assert tags["0.1-ml-cpu-candidate"] == other.digest, "the newest release is the candidate"


@pytest.mark.parametrize("tag", ["0.1.0-ml-cpu", "0.1.0-ml"])
def test_a_tag_that_is_taken_at_the_last_moment_is_not_moved(
    registry: Registry,  # noqa: F811
    toy: Candidate,  # noqa: F811
    key: SigningKey,  # noqa: F811
    tmp_path: Path,
    tag: str,
) -> None:
    def meanwhile() -> None:
        registry.manifests[PATH][tag] = (MANIFEST, b'{"layers": []}')

    with pytest.raises(UsageError, match="never moves") as caught:
        release(registry, toy, key, tmp_path / "s", at("record", meanwhile))
    assert tag in caught.value.what
    assert registry.manifests[PATH][tag][1] == b'{"layers": []}'
