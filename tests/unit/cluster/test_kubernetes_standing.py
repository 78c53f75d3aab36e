"""Which clusters a namespace has, whole or not, and who may remove what of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.kubernetes import patience, standalone
from mlruntime.cluster.kubernetes.kubectl import Kubectl
from mlruntime.cluster.kubernetes.standing import KINDS, find
from mlruntime.cluster.rendering import RenderRequest
from mlruntime.definitions.files import Definitions
from mlruntime.errors import UsageError
from mlruntime.workflows.cluster.describing import cluster_templates
from mlruntime.workflows.cluster.kubernetes import OnKubernetes

from tests.conftest import CHECKOUT
from tests.unit.cluster.test_kubernetes_jobs import answers, asked, kube

__all__ = ["kube"]
pytestmark = pytest.mark.starts

DESCRIBED = {"io.mlruntime/cluster": msgspec.json.encode(ClusterSpec(image="i")).decode()}
FORBIDDEN = (1, 'Error: User "u" cannot list resource "secrets"\n')


def item(name: str, component: str, annotations: Any = None, **more: Any) -> Mapping[str, Any]:
    labels = {"app.kubernetes.io/instance": name, "app.kubernetes.io/component": component}
    metadata = {"name": f"{name}-{component}", "labels": labels, "annotations": annotations or {}}
    return {"metadata": metadata, "spec": {"replicas": 2}, "status": {"readyReplicas": 2}, **more}


def whole(name: str, annotations: Any = None) -> list[Mapping[str, Any]]:
    return [
        item(name, "settings", annotations or DESCRIBED),
        item(name, "master", spec={"replicas": 1}, status={"readyReplicas": 1}),
        item(name, "worker"),
    ]


def found(folder: Path, *items: Mapping[str, Any], labels: tuple[int, str] = (0, "")) -> None:
    """Have the namespace tell of these objects; ``labels`` are of all that there are."""
    text = json.dumps({"items": items}) + "\n"
    answers(folder, "statefulsets", (0, text), labels)


def place(kube: Kubectl) -> OnKubernetes:
    return OnKubernetes(kube=kube, definitions=Definitions(CHECKOUT), say=print)


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([item("b", "settings", DESCRIBED)], "it has no master and no worker"),
        ([item("b", "worker")], "it has no description and no master"),
        (whole("b", {"io.mlruntime/cluster": "edited"}), "ConfigMap b-settings is not what `up`"),
        (whole("b", {"io.mlruntime/cluster": '{"image": 1}'}), "is not what `up` wrote"),
    ],
)
def test_what_is_not_whole_is_told_and_removed(
    kube: Kubectl, tmp_path: Path, items: list[Mapping[str, Any]], why: str
) -> None:
    found(tmp_path, *whole("a"), *items)
    listed = {one.name: (one.state, one.workers) for one in place(kube).clusters()}
    assert listed == {"a": ("running", 2), "b": ("incomplete", 0)}
    found(tmp_path, *whole("a"), *items)
    with pytest.raises(UsageError, match="cluster b in namespace ml is incomplete") as raised:
        find(kube, "b")
    assert why in str(raised.value.why)
    assert "cluster down --on kubernetes b" in str(raised.value.hint)
    found(tmp_path, *whole("a"), *items)
    assert find(kube, "a").spec.image == "i"
    found(tmp_path, *whole("a"), *items)
    assert place(kube).down(["b"]) == ("b",)
    deleted = [s for s in (tmp_path / "asked").read_text().splitlines() if s.startswith("delete")]
    assert len(deleted) == 1 and "app.kubernetes.io/instance=b " in deleted[0]


def test_a_secret_alone_is_found_and_what_others_made_is_not(kube: Kubectl, tmp_path: Path) -> None:
    """Programs that ask Kubernetes for executors (native.yaml) are not removed by `--all`."""
    rows = (
        "left     <none>    0a1b2c3d   <none>\n"
        "job      <none>    <none>     job-job-7aea04\n"
        "policy   network   <none>     <none>\n"
        "native   driver    <none>     <none>\n"
        "native   settings  <none>     <none>\n"
        "<none>   <none>    <none>     <none>\n"
    )
    found(tmp_path, labels=(0, rows))
    assert place(kube).down(None) == ("job", "left", "policy")
    found(tmp_path, labels=(0, rows))
    answers(tmp_path, "namespace", (0, "{}\n"))
    with pytest.raises(UsageError, match="there is no cluster 'native'"):
        place(kube).down(["native"])
    found(tmp_path, *whole("a"), labels=FORBIDDEN)
    assert [one.name for one in place(kube).clusters()] == ["a"]


def wanted(name: str) -> RenderRequest:
    return RenderRequest(
        name=name, spec=ClusterSpec(image="r.io/i", limit=1 << 31), secret="s", spark="3.5.9"
    )


def test_who_comes_second_removes_nothing_of_the_first(
    kube: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dry run was before the other one had begun."""
    made: list[list[Any]] = []
    create = Kubectl.create

    def creates(self: Kubectl, documents: Any, *, dry: bool = False) -> None:
        texts = list(documents)
        made.append([one for text in texts for one in yaml.safe_load_all(text)])
        create(self, texts, dry=dry)

    monkeypatch.setattr(Kubectl, "create", creates)
    found(tmp_path)
    taken = 'Error from server (AlreadyExists): configmaps "a-spark" already exists\n'
    answers(tmp_path, "create", (0, ""), (1, taken))
    with pytest.raises(UsageError, match="has configmaps a-spark already"):
        standalone.up(kube, wanted("a"), cluster_templates(Definitions(CHECKOUT)))
    tried, created = made
    assert [one["kind"] for one in created] == ["ConfigMap"]
    marks = {one["metadata"]["labels"]["io.mlruntime/run"] for one in tried}
    (run,) = marks
    deletes = [s for s in (tmp_path / "asked").read_text().splitlines() if s.startswith("delete")]
    assert len(deletes) == 1 and f",io.mlruntime/run={run} " in deletes[0]
    templates = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in tried
        if one["kind"] == "StatefulSet"
    ]
    assert len(templates) == 2 and all(t["io.mlruntime/run"] == run for t in templates)


def test_a_start_survives_an_answer_that_is_missing(
    kube: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PAUSE", 0.0)
    found(tmp_path)
    silent = (1, "Error from server (Timeout): the server was unable to return a response\n")
    nodes = [
        {
            **item("a", component),
            "status": {"containerStatuses": [{"ready": True, "state": {"running": {}}}]},
        }
        for component in ("master", "worker", "worker")
    ]
    answers(tmp_path, "pods", silent, (0, json.dumps({"items": nodes}) + "\n"))
    told = {"aliveworkers": 2, "cores": 2, "coresused": 0, "activeapps": []}
    answers(tmp_path, "exec", (0, json.dumps(told) + "\n"))
    standalone.up(kube, wanted("a"), cluster_templates(Definitions(CHECKOUT)))
    assert "delete" not in asked(tmp_path)


def test_the_description_is_made_first_and_removed_last() -> None:
    """So what is left of a cluster is found by it, also by who may not look at Secrets."""
    assert KINDS.split(",")[-1] == "configmaps"
