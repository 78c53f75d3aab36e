"""Nodes that do not agree are named, with what to do."""

from typing import Any

import pytest
from mlruntime.cluster.nodes import NodeReport, compare

PROPERTIES: dict[str, Any] = {
    "image": "sha256:1", "python": "3.11.2", "java": "17.0.12", "user": 1000, "settings": "abc",
    "mtu": [1500], "driver": "", "clock": 100.0, "reach": {"m": ""},
    "slow": [],
}  # fmt: skip


def told(node: str, **properties: Any) -> NodeReport:
    return NodeReport(node=node, properties={**PROPERTIES, **properties}, sent=99.9, answered=100.2)


def test_nodes_that_agree() -> None:
    assert compare([told("master"), told("worker-1"), told("worker-2", clock=101.5)]) == ()
    assert compare([]) == ()


@pytest.mark.parametrize(
    ("properties", "what"),
    [
        ({"image": "sha256:2"}, "worker-1 has image sha256:2, others sha256:1"),
        ({"python": "3.13.1"}, "worker-1 has python 3.13.1, others 3.11.2"),
        ({"mtu": [1450]}, "worker-1 has mtu 1450, others 1500"),
        ({"driver": "NVRM 550"}, "worker-1 has driver NVRM 550, others none"),
        ({"clock": 160.2}, "the clock of worker-1 is off by 60 s"),
        ({"clock": 39.9}, "the clock of worker-1 is off by 60 s"),
        ({"reach": {"m": "timed out"}}, "worker-1 cannot connect to m: timed out"),
        (
            {"slow": ["Worker"]},
            "worker-1: Worker did not take its class data, and so started slowly",
        ),
    ],
)
def test_a_node_that_differs_is_named(properties: dict[str, Any], what: str) -> None:
    (found,) = compare([told("master"), told("worker-1", **properties), told("worker-2")])
    assert (found.node, found.what) == ("worker-1", what)
    assert found.hint
