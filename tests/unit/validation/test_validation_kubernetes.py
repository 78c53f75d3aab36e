"""`validate --on kubernetes`: what is refused before anything is started, and what is not run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cli import main
from mlruntime.cluster.kubernetes.kubectl import Kubectl
from mlruntime.definitions.files import Definitions
from mlruntime.documents.oci import INDEX_TYPE, MANIFEST_TYPE, Document
from mlruntime.errors import Unavailable, UsageError
from mlruntime.registry.names import parse_name
from mlruntime.validation.catalog import CHECKS
from mlruntime.validation.session import IMAGE_CHECK
from mlruntime.workflows.cluster.subject import kubernetes_subject, labels_in, pullable

from tests.conftest import CHECKOUT

DIGEST = "sha256:" + "a" * 64
IMAGE = f"registry.example.org/ml/6.0-ml@{DIGEST}"


@pytest.mark.parametrize(
    ("runtime", "image", "what"),
    [
        (None, IMAGE, "nothing to validate is named"),
        ("6.0-mk", IMAGE, "there is no runtime '6.0-mk'"),
        ("6.0-ml", None, "needs a name that its nodes can pull"),
        ("6.0-ml", "registry.example.org/ml/6.0-ml:cpu", "has no digest"),
        ("6.0-ml", "ml", "names no repository"),
    ],
)
def test_what_cannot_be_pulled(runtime: str | None, image: str | None, what: str) -> None:
    with pytest.raises(UsageError, match=what.replace("?", r"\?")):
        pullable(Definitions(CHECKOUT), runtime, image)
    assert pullable(Definitions(CHECKOUT), "6.0-ml", IMAGE) == ("6.0-ml", IMAGE)


class Registry:
    """A repository with one manifest."""

    name = parse_name(IMAGE)

    def __init__(self, manifest: Document | None, config: Any = None) -> None:
        self._manifest, self._config = manifest, config

    def manifest(self, reference: str) -> Document | None:
        assert reference == DIGEST
        return self._manifest

    def small_blob(self, digest: str) -> bytes:
        assert digest == "sha256:config"
        return json.dumps(self._config).encode()


def test_labels_of_an_image_in_a_registry() -> None:
    manifest = Document.of({"config": {"digest": "sha256:config"}}, MANIFEST_TYPE)
    labelled = {"config": {"Labels": {"a": "b"}}}
    assert labels_in(Registry(manifest, labelled), DIGEST) == {"a": "b"}  # type: ignore[arg-type]
    assert labels_in(Registry(manifest, {"config": {}}), DIGEST) == {}  # type: ignore[arg-type]
    for found, what in ((None, f"has no {DIGEST}"), (Document.of({}, INDEX_TYPE), "is an index")):
        with pytest.raises(UsageError, match=what):
            labels_in(Registry(found), DIGEST)  # type: ignore[arg-type]


def test_what_a_namespace_is_asked_for() -> None:
    def asked(labels: Any) -> Any:
        kube = Kubectl(program="kubectl", environment={}, namespace="ml")
        return kubernetes_subject(
            Definitions(CHECKOUT), kube, "6.0-ml", IMAGE, labels, CHECKS,
            variant="cpu", flavour=None, workers=3,
        )  # fmt: skip

    def known(digest: str) -> Mapping[str, str]:
        assert digest == DIGEST
        return {"a": "b"}

    def silent(digest: str) -> Mapping[str, str]:
        raise Unavailable("registry.example.org does not answer")

    place, subject = asked(known)
    assert (subject.image, subject.manifest, subject.workers) == (IMAGE, DIGEST, 3)
    assert (subject.place, subject.lock.runtime) == ("Kubernetes, namespace ml", "6.0-ml")
    assert place.image(IMAGE).labels == {"a": "b"}
    assert place.spark == dict(subject.lock.components)["spark"]
    assert "spark.parquet" in subject.cannot and IMAGE_CHECK not in subject.cannot
    _, subject = asked(silent)
    assert subject.cannot[IMAGE_CHECK].endswith("registry.example.org does not answer")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["6.0-ml", "--image", IMAGE], "--image and --namespace are for --on kubernetes"),
        (["6.0-ml", "--on", "kubernetes", "--image", IMAGE, "--network", "n"], "are not for"),
        (["6.0-ml", "--on", "kubernetes"], "needs a name that its nodes can pull"),
    ],
)
def test_options_that_do_not_go_together(
    words: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(CHECKOUT), "validate", *words]) == 2
    assert what in capsys.readouterr().err


def test_no_kubectl(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["validate", "6.0-ml", "--on", "kubernetes", "--image", IMAGE]
    assert main(["--root", str(CHECKOUT), *words]) == 6
    assert "kubectl is not installed" in capsys.readouterr().err
