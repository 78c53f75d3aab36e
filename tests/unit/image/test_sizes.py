"""What weighs how much: the sums, the picture, and budgets that a build keeps."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.definitions.runtime import parse_runtime
from mlruntime.errors import InvalidDefinition, ValidationFailed
from mlruntime.image.config import ImageConfig
from mlruntime.image.plan import Plan
from mlruntime.image.sizes import Sizes, sizes, sizes_json, sizes_picture, sizes_text
from mlruntime.image.sources.debian import ConfiguredPackages, DebianPackages
from mlruntime.image.sources.model import PlannedLayer
from mlruntime.image.sources.python import PythonPackages
from mlruntime.image.treemap import Group, treemap
from mlruntime.layers.gzipped import LayerBlob
from mlruntime.workflows.build import refuse_over

from tests.unit.lock.test_lock import artifact, tiny

SYSTEM = (artifact("libc6", "deb", "2.36-9"),)
WHEELS = (artifact("numpy", version="1.26.4"), artifact("b&b", version="1"))
(NATIVE,) = tiny().variant("cpu").native
CONFIG = ImageConfig(user="", workdir="", entrypoint=(), command=(), environment=(), labels=())
LAYERS = (
    PlannedLayer(name="os", key="k1", content=DebianPackages(packages=SYSTEM)),
    PlannedLayer(name="configured", key="k2", content=ConfiguredPackages(packages=SYSTEM)),
    PlannedLayer(name="python", key="k3", content=PythonPackages(wheels=WHEELS, native=(NATIVE,))),
    PlannedLayer(name="ml", key="k4", content=PythonPackages(wheels=()), flavour="ml"),
)
PLAN = Plan(
    runtime="0.1-ml", variant="cpu", flavour="ml", python="3.11", layers=LAYERS, config=CONFIG
)
MB = 1_000_000


def blob(key: str) -> LayerBlob | None:
    number = int(key[1]) * MB
    return LayerBlob(diff_id="", digest="", size=number, unpacked=3 * number)


def weighed(**words: Any) -> Sizes:
    given: dict[str, Callable[..., Any] | int] = {
        "blob": blob,
        "unpacked": lambda a, _: 5 * MB if a.kind == "wheel" else None,
        "compiled": lambda _: (MB, 2 * MB),
        "budget": 12 * MB,
    }
    return sizes(PLAN, **(given | words))


def test_layers_and_packages_with_their_sizes() -> None:
    found = sizes_json(weighed())
    assert (found["size"], found["unpacked"], found["built"]) == (10 * MB, 30 * MB, True)
    assert [layer["flavour"] for layer in found["layers"]] == ["core", "core", "core", "ml"]
    told = {p["name"]: (p["layer"], p["packed"], p["unpacked"]) for p in found["packages"]}
    # The system's packages are unpacked in one layer, and only configured in another.
    assert told["libc6"] == ("os", 5000, None)
    assert told["horovod"] == ("python", MB, 2 * MB)
    assert [p["name"] for p in found["packages"]][:2] == ["b&b", "numpy"]


def test_what_was_not_built_is_said_and_not_counted() -> None:
    found = weighed(blob=lambda key: None if key == "k4" else blob(key))
    assert (found.packed, found.built) == (6 * MB, False)
    text = sizes_text(found)
    assert "together 6.0 MB, unpacked 18.0 MB" in text
    assert "not built here, and not counted: ml" in text
    assert "budget 12 MB" in text


def test_the_picture_has_each_package_once_and_is_the_same_twice() -> None:
    picture = sizes_picture(weighed())
    assert picture == sizes_picture(weighed())
    for name in ("libc6", "numpy", "b&amp;b", "horovod"):
        assert picture.count(f": {name}, ") == 1


_BOX = re.compile(r'x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"\s+height="([\d.]+)" fill="#')


@given(st.lists(st.lists(st.integers(1, 10**9), min_size=1, max_size=12), min_size=1, max_size=6))
def test_areas_are_in_proportion_and_fill_the_page(groups: list[list[int]]) -> None:
    named = [
        Group(name=f"g{i}", parts=tuple((f"p{j}", n) for j, n in enumerate(parts)))
        for i, parts in enumerate(groups)
    ]
    boxes = [tuple(map(float, box)) for box in _BOX.findall(treemap("x", named))]
    numbers = sorted(n for parts in groups for n in parts)
    assert len(boxes) == len(numbers)
    whole = 1200 * (700 - 18)
    areas = sorted(width * height for _, _, width, height in boxes)
    for area, number in zip(areas, numbers, strict=True):
        # Sides are written with one digit after the point.
        assert area == pytest.approx(number / sum(numbers) * whole, abs=150)
    assert all(x + w <= 1200.2 and y + h <= 700.2 for x, y, w, h in boxes)


def test_nothing_has_a_picture_too() -> None:
    assert treemap("x", []).startswith("<svg")


def test_a_budget_that_is_passed_names_what_weighs() -> None:
    layers = [("spark", 300 * MB), ("tensorflow", 200 * MB), ("a", 1), ("b", 2)]
    refuse_over(PLAN, layers, None)
    refuse_over(PLAN, layers, 500 * MB + 3)
    with pytest.raises(ValidationFailed) as caught:
        refuse_over(PLAN, layers, 500 * MB)
    assert caught.value.where == "runtimes/0.1-ml/runtime.yaml: budgets.cpu-ml"
    assert "spark 300 MB, tensorflow 200 MB" in str(caught.value.why)


RUNTIME = """
runtime: 0.1-ml
summary: x
snapshot: 2026-11-20T00:00:00Z
variants: [cpu]
request: {spark: "*"}
flavours:
  ml: {summary: x, python: [a]}
budgets: """


def test_budgets_are_megabytes_of_images_that_there_are() -> None:
    found = parse_runtime(RUNTIME + "{cpu: 900, cpu-ml: 1300}", file="f")
    assert found.budgets == (("cpu", 900 * MB), ("cpu-ml", 1300 * MB))
    with pytest.raises(InvalidDefinition, match="'gpu' is no image of this runtime"):
        parse_runtime(RUNTIME + "{gpu: 900}", file="f")
    with pytest.raises(InvalidDefinition):
        parse_runtime(RUNTIME + "{cpu: -1}", file="f")
