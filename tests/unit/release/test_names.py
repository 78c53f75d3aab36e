"""An image under a name that is not its own is refused: other tags, indexes, entries."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cli import main
from mlruntime.documents.oci import INDEX_TYPE
from mlruntime.errors import ValidationFailed
from mlruntime.release.channels import misnamed
from mlruntime.release.checking import check_index
from mlruntime.release.documents import Candidate
from mlruntime.release.signing import SigningKey, signature_tag
from mlruntime.release.sources import RegistrySource

from tests.unit.registries import Registry, sha256
from tests.unit.release.helpers import PATH, answers, failed, opened, release
from tests.unit.toys import candidate, lock_of

CPU = {"runtime": "6.0-ml", "version": "6.0.3-ml", "variant": "cpu"}


@pytest.mark.parametrize(
    "tag",
    [None, "6.0.3-ml-cpu", "6.0.3-ml", "6.0-ml-cpu", "6.0-ml", "6.0-ml-cpu-candidate",
     "6.0-ml-candidate", "latest", "ours"],
)  # fmt: skip
def test_the_names_of_an_image(tag: str | None) -> None:
    assert misnamed(tag, None, CPU) is None


@pytest.mark.parametrize(
    "tag",
    ["6.0.2-ml-cpu", "6.0.2-ml", "6.0.3-ml-gpu", "6.0.3-ml-cpu-notebook", "6.0-ml-gpu",
     "6.0-ml-gpu-candidate", "7.0-ml-cpu", "7.0.3-ml-cpu", "7.0-ml", "7.0.0-ml", "6.0-other-cpu",
     "6.0.3-cpu", "6.0.30-ml-cpu", "6.0-ml-record"],
)  # fmt: skip
def test_the_names_of_others(tag: str) -> None:
    with pytest.raises(ValidationFailed, match=f"the tag {tag} is on 6.0.3-ml, cpu"):
        raise misnamed(tag, None, CPU) or AssertionError


def test_what_an_index_calls_an_image() -> None:
    for tag in ("6.0.3-ml", "6.0-ml", "6.0-ml-candidate", None):
        assert misnamed(tag, "cpu", CPU) is None
        wrong = misnamed(tag, "gpu", CPU)
        assert wrong and wrong.what == "the index calls it gpu, and it was released as cpu"
    assert misnamed("6.0.3-ml-cpu", "cpu", CPU), "an index is under the tag of an image"


@pytest.fixture
def two(
    registry: Registry,
    toy: Candidate,
    key: SigningKey,
    tmp_path: Path,
) -> Iterator[Registry]:
    """A registry with two versions; the newest is the candidate."""
    release(registry, toy, key, tmp_path / "s")
    release(registry, candidate(tmp_path / "store", lock_of("3.5.10")), key, tmp_path / "s")
    yield registry


@pytest.mark.parametrize("tag", ["0.2.0-ml-cpu", "0.2-ml-cpu", "0.1-ml-gpu", "0.1.0-ml-gpu"])
def test_a_tag_of_another_runtime_or_variant_is_refused(
    two: Registry,
    key: SigningKey,
    tag: str,
) -> None:
    two.manifests[PATH][tag] = two.manifests[PATH]["0.1.0-ml-cpu"]
    told = failed(answers(two, tag, key))
    assert told["release"].startswith(f"the tag {tag} is on 0.1.0-ml, cpu")


def index_answer(registry: Registry, tag: str, key: SigningKey | None) -> tuple[str, str]:
    with opened(registry) as there:
        source = RegistrySource(there)
        index = source.manifest(tag)
        assert index is not None
        found = check_index(source, index, key=key.public if key else None, tag=tag)
    return found.status, found.told


def test_another_index_is_refused(two: Registry, key: SigningKey) -> None:
    manifests = two.manifests[PATH]
    kind, content = manifests["0.1.0-ml"]
    assert index_answer(two, "0.1.0-ml", key) == ("passed", f"{sha256(content)}, 1 images")
    assert index_answer(two, "0.1.0-ml", None)[0] == "not-run"
    value = json.loads(content)
    value["manifests"] += json.loads(manifests["0.1.1-ml"][1])["manifests"]
    other = json.dumps(value).encode()
    for name in ("0.1.0-ml", sha256(other)):
        manifests[name] = (kind, other)
    status, told = index_answer(two, "0.1.0-ml", key)
    assert status == "failed" and told.startswith("it is not signed")
    manifests[signature_tag(sha256(other))] = manifests[signature_tag(sha256(content))]
    assert index_answer(two, "0.1.0-ml", key) == ("failed", "the signature is of another image")


def test_the_index_of_another_version_is_refused(
    two: Registry,
    key: SigningKey,
) -> None:
    """Also where all of its images are of the tag's version as well."""
    manifests = two.manifests[PATH]
    old = manifests["0.1.0-ml"]
    passed = index_answer(two, "0.1.0-ml", key)
    for tag in ("0.1-ml", "0.1-ml-candidate", "latest"):
        manifests[tag] = old
        assert index_answer(two, tag, key) == passed
    for tag in ("0.1.1-ml", "0.1.0", "0.2-ml", "0.1-other"):
        manifests[tag] = old
        status, told = index_answer(two, tag, key)
        assert status == "failed" and told.startswith(f"the tag {tag} is on the index of 0.1.0-ml")


def test_verify_asks_about_the_index_and_what_it_calls_its_images(
    two: Registry,
    key: SigningKey,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "verify-store"))
    (tmp_path / "k.pub").write_text(key.public.pem)

    def verified(reference: str, code: int, *more: str) -> dict[str, Any]:
        words = ["verify", reference, "--key", str(tmp_path / "k.pub"), "--json", *more]
        assert main(words) == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    where = f"{two.address}/{PATH}"
    kept = str(tmp_path / "kept")
    assert verified(f"{where}:0.1.1-ml", 0, "--output", kept)["index"]["status"] == "passed"
    assert verified(kept, 0)["index"]["status"] == "passed", "its signature was kept, too"
    assert verified(f"{where}:0.1.1-ml-cpu", 0)["index"] is None
    kind, content = two.manifests[PATH]["0.1.1-ml"]
    value = json.loads(content)
    value["manifests"][0]["annotations"]["io.mlruntime.variant"] = "gpu"
    two.manifests[PATH]["0.1.1-ml"] = (INDEX_TYPE, json.dumps(value).encode())
    found = verified(f"{where}:0.1.1-ml", 7)
    assert found["index"]["status"] == "failed"
    told = {a["name"]: a["told"] for a in found["images"][0]["answers"]}
    assert told["release"].startswith("the index calls it gpu, and it was released as cpu")
    two.manifests[PATH]["0.1.1-ml"] = (kind, two.manifests[PATH]["0.1.0-ml"][1])
    found = verified(f"{where}:0.1.1-ml", 7)
    assert found["index"]["told"].startswith("the tag 0.1.1-ml is on the index of 0.1.0-ml")
    (image,) = found["images"]
    told = {a["name"]: a["told"] for a in image["answers"]}
    assert told["release"].startswith("the tag 0.1.1-ml is on 0.1.0-ml, cpu")
