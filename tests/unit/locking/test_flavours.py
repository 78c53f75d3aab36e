"""Flavours: locked on top of core, which never moves; planned in layers above it."""

from dataclasses import replace
from typing import Any

import pytest
from mlruntime.definitions.runtime import parse_runtime
from mlruntime.ecosystems.place import image_place
from mlruntime.ecosystems.pypi.site import Collision, Site
from mlruntime.errors import ArtifactNotFound, InvalidDefinition, InvalidLock, UsageError
from mlruntime.image.config import FLAVOUR_LABEL, labels
from mlruntime.image.difference import parse_named
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import CORE, Lock, tag
from mlruntime.lock.packages import DummyPackage
from mlruntime.locking.flavours import with_flavours
from mlruntime.locking.request import FlavourRequest, LockRequest
from mlruntime.locking.staleness import stale_flavours

from tests.unit.locking.test_locking_assemble import (
    ASKED,
    BOTH,
    World,
    locked,
    names,
    recipes,
    wanted,
)
from tests.unit.locking.test_locking_assemble import world as world

ML = FlavourRequest(
    name="ml",
    versions=(("xgboost", "3.2.0"),),
    wanted=(
        replace(wanted("xgboost", "pypi", "xgboost-cpu", "3.2.0", "cpu"), provides=("xgboost",)),
        wanted("xgboost", "pypi", "xgboost", "3.2.0", "gpu"),
    ),
    python=("seaborn",),
)
NOTEBOOK = FlavourRequest(name="notebook", versions=(), wanted=(), python=("jupyterlab",))
FLAVOURED = replace(ASKED, variants=BOTH, flavours=(ML, NOTEBOOK))


@pytest.fixture
def shop(world: World) -> World:
    world.pypi.projects |= {
        "xgboost-cpu": ("3.2.0", ("scipy",)),
        "xgboost": ("3.2.0", ("scipy", "nvidia-nccl")),
        "seaborn": ("0.13", ("matplotlib", "numpy")), "matplotlib": ("3.11", ("pillow",)),
        "pillow": ("13", ()), "jupyterlab": ("4.6", ("pillow", "tornado")), "tornado": ("6.6", ()),
    }  # fmt: skip
    return world


def flavoured(shop: World, core: Lock, asked: LockRequest = FLAVOURED, **words: Any) -> Lock:
    return with_flavours(core, asked, recipes=recipes(), registries=shop, **words)


@pytest.fixture
def lock(shop: World) -> Lock:
    return flavoured(shop, locked(shop, FLAVOURED))


def test_each_flavour_has_what_those_below_it_lack(lock: Lock) -> None:
    assert lock.flavour_names == ("core", "ml", "notebook")
    ml, notebook = lock.flavours
    assert names(ml.python) == ["matplotlib", "pillow", "seaborn"]
    assert names(ml.of("cpu").python) == ["xgboost-cpu"]
    assert names(ml.of("gpu").python) == ["xgboost"]
    assert ml.of("cpu").dummy_packages == (
        DummyPackage(name="xgboost", version="3.2.0", by="xgboost-cpu"),
    )
    assert ml.components == (("xgboost", "3.2.0"),)
    assert names(notebook.python) == ["jupyterlab", "tornado"]
    assert notebook.of("cpu").dummy_packages == ()
    assert parse_lock(lock.to_json(), file="x") == lock


def test_core_does_not_move_and_nothing_of_it_is_compiled_anew(shop: World, lock: Lock) -> None:
    core = locked(shop, FLAVOURED)
    assert lock.cut(CORE) == core
    assert lock.cut(CORE).digest == core.digest != lock.cut("ml").digest != lock.digest
    assert '"format": 2' in core.to_json()
    assert '"format": 3' in lock.to_json()
    # A newer SciPy is out: locking the flavours again leaves that of core.
    shop.pypi.projects["scipy"] = ("1.18", ("numpy",))
    assert flavoured(shop, core) == lock


def test_an_index_that_changes_meanwhile_is_told(shop: World) -> None:
    core = locked(shop, FLAVOURED)
    other = replace(core.python[0], sha256="9" * 64)
    with pytest.raises(InvalidLock, match="flavour ml would replace"):
        flavoured(shop, replace(core, python=(other, *core.python[1:])))


def test_what_a_flavour_cannot_have(shop: World) -> None:
    core = locked(shop, FLAVOURED)
    del shop.pypi.projects["xgboost-cpu"]
    with pytest.raises(ArtifactNotFound, match="does not have xgboost-cpu"):
        flavoured(shop, core)
    lock = flavoured(shop, core, omit=["xgboost"])
    (omission,) = lock.flavours[0].omitted
    assert omission.component == "xgboost"
    assert lock.all_omitted == (omission,)
    assert "xgboost" not in lock.whole("gpu").distributions
    assert lock.cut(CORE).all_omitted == ()
    with pytest.raises(UsageError, match="'xgbost' is not a component"):
        flavoured(shop, core, omit=["xgbost"])


def test_a_cut_lock_has_what_its_image_has(lock: Lock) -> None:
    assert "xgboost" not in lock.cut(CORE).whole("cpu").distributions
    assert lock.cut("ml").whole("cpu").distributions["xgboost"] == "3.2.0"
    assert "jupyterlab" not in lock.cut("ml").whole("cpu").distributions
    assert lock.whole("cpu").distributions["jupyterlab"] == "4.6"
    assert ("xgboost", "3.2.0") in lock.components_of("cpu")
    with pytest.raises(UsageError, match="has no flavour 'notebok'") as caught:
        lock.cut("notebok")
    assert "notebook" in str(caught.value.hint)


def test_labels_and_tags_say_the_flavour_and_nothing_for_core(lock: Lock) -> None:
    assert dict(labels(lock.cut("ml"), "cpu", {}))[FLAVOUR_LABEL] == "ml"
    assert FLAVOUR_LABEL not in dict(labels(lock.cut(CORE), "cpu", {}))
    assert (tag("cpu", CORE), tag("gpu", "ml")) == ("cpu", "gpu-ml")
    named = parse_named("6.0-ml@HEAD:gpu-ml")
    assert (named.variant, named.flavour, named.text) == ("gpu", "ml", "6.0-ml@HEAD:gpu-ml")
    assert parse_named("6.0-ml").flavour == CORE


@pytest.mark.parametrize(
    ("flavours", "said"),
    [
        ((ML, NOTEBOOK), ()),
        ((ML,), ("flavour notebook is locked, but not asked for any more",)),
        (
            (replace(ML, python=()), NOTEBOOK),
            ("what flavour ml asks for has changed since",),
        ),
        (
            (ML, NOTEBOOK, replace(NOTEBOOK, name="cloud")),
            ("flavour cloud is asked for, but not locked",),
        ),
        ((NOTEBOOK, ML), ("the flavours are in another order now",)),
    ],
)
def test_a_flavour_that_changed_is_stale(
    lock: Lock, flavours: tuple[FlavourRequest, ...], said: tuple[str, ...]
) -> None:
    assert stale_flavours(lock, flavours) == said


RUNTIME = """
runtime: 0.1-ml
summary: x
snapshot: 2026-11-20T00:00:00Z
variants: [cpu]
request: {spark: "*"}
flavours:
"""


@pytest.mark.parametrize(
    ("flavours", "said"),
    [
        ("  core: {summary: x, python: [a]}", "flavours.core: core is what every image has"),
        ("  ml: {summary: x}", "flavours.ml: this flavour adds nothing"),
        ("  ml: {summary: x, python: ['a @ file:///a']}", "flavours.ml.python"),
        ("  Ml: {summary: x, python: [a]}", "flavour"),
    ],
)
def test_a_flavour_that_is_malformed(flavours: str, said: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_runtime(RUNTIME + flavours, file="runtime.yaml")
    assert said in str(caught.value)


def test_an_unknown_component_of_a_flavour_has_its_place() -> None:
    text = RUNTIME + "  ml: {summary: x, request: {xgbost: '*'}}"
    with pytest.raises(InvalidDefinition, match=r"flavours\.ml\.request\.xgbost: unknown"):
        parse_runtime(text, file="f").must_fit("0.1-ml", ["spark", "xgboost"], file="f")


def test_a_library_that_wheels_expect_of_the_system_is_found_once() -> None:
    site = Site(image_place("3.11"))
    folder = "opt/ml/lib/python3.11/site-packages/scikit_learn.libs"
    for name in ("libgomp-e985bcbb.so.1.0.0", "libother.so.2"):
        assert site.is_new(f"{folder}/{name}", "scikit-learn", 1, lambda: b"x")
    wanted = "scikit_learn.libs/libgomp-*.so.*"
    assert site.library(wanted) == f"{folder}/libgomp-e985bcbb.so.1.0.0"
    with pytest.raises(Collision, match="0 libraries"):
        site.library("numpy.libs/libgomp-*.so.*")
    site.is_new(f"{folder}/libgomp-ffff.so.1.0.0", "scikit-learn", 1, lambda: b"x")
    with pytest.raises(Collision, match="2 libraries"):
        site.library(wanted)
