"""Flavours: locked on top of core, which never moves; planned in layers above it."""

from dataclasses import replace
from typing import Any

import pytest
from mlruntime.definitions.runtime import parse_runtime
from mlruntime.ecosystems.maven.shipped import ShippedJar
from mlruntime.ecosystems.place import image_place
from mlruntime.ecosystems.pypi.site import Collision, Site
from mlruntime.errors import (
    ArtifactNotFound,
    InvalidDefinition,
    InvalidLock,
    NoCompatibleVersions,
    UsageError,
)
from mlruntime.image.config import FLAVOUR_LABEL, labels
from mlruntime.image.difference import parse_named
from mlruntime.image.plan import plan
from mlruntime.image.sources.jars import Jars
from mlruntime.image.stack import parse_stack
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import CORE, Lock, tag
from mlruntime.lock.packages import DummyPackage
from mlruntime.locking.flavours import with_flavours
from mlruntime.locking.request import FlavourRequest, LockRequest
from mlruntime.locking.staleness import flavour_digest, stale_flavours
from mlruntime.workflows.planning import TOOLS

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


def test_a_flavour_s_debian_packages_are_on_top_of_core_s(shop: World) -> None:
    core = locked(shop, FLAVOURED)
    shop.debian.packages |= {
        "git": ("2.39", ("libc6", "perl")), "perl": ("5.36", ("libc6",)),
        "less": ("590", ("libc6", "perl")),
    }  # fmt: skip
    asked = replace(
        FLAVOURED,
        flavours=(replace(ML, debian=("git",)), replace(NOTEBOOK, debian=("less", "git"))),
    )
    lock = flavoured(shop, core, asked)
    assert [names(flavour.os) for flavour in lock.flavours] == [["git", "perl"], ["less"]]
    assert lock.cut(CORE) == core
    assert parse_lock(lock.to_json(), file="x") == lock
    assert '"format": 5' in lock.to_json()
    assert '"format": 2' in lock.cut(CORE).to_json()
    found = lock.cut("ml").whole("gpu")
    assert names(found.os) == [*names(core.os), "git", "perl"]
    assert set(found.os) <= set(found.artifacts)
    # The archive has moved: what core has stays, so git must go with that or be refused.
    shop.debian.packages["libc6"] = ("2.36-10", ())
    with pytest.raises(InvalidDefinition) as caught:
        flavoured(shop, core, asked)
    assert str(caught.value).startswith(
        "the Debian packages of flavour ml would replace packages of the image: libc6\n"
    )
    with pytest.raises(ArtifactNotFound, match="no gti"):
        flavoured(shop, core, replace(FLAVOURED, flavours=(replace(ML, debian=("gti",)),)))


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
        ("  ml: {summary: x, without-jars: ['a:b']}", "flavours.ml: this flavour adds nothing"),
        ("  ml: {summary: x, jars: ['a:b:1', 'a:b:1']}", "flavours.ml.jars[1]: 'a:b:1' is listed"),
        ("  ml: {summary: x, jars: ['a:b:1'], without-jars: [a]}", "ml.without-jars[0]: 'a' is"),
    ],
)
def test_a_flavour_that_is_malformed(flavours: str, said: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_runtime(RUNTIME + flavours, file="runtime.yaml")
    assert said in str(caught.value)


# Jars of a flavour.

CLOUD = FlavourRequest(
    name="cloud",
    versions=(("delta", "4"),),
    wanted=(replace(wanted("delta", "maven", "g:delta", "4"), excludes=("x:y",)),),
    python=(),
    jars=("g:extra:1",),
)


@pytest.fixture
def repository(shop: World) -> World:
    shop.maven.jars |= {"g:delta": "4", "g:extra": "1"}
    return shop


def with_cloud(shop: World, **words: Any) -> Lock:
    asked = replace(FLAVOURED, flavours=(ML, NOTEBOOK, replace(CLOUD, **words)))
    shop.maven.needs = ("aws", "bundle")
    core = locked(shop, FLAVOURED)
    parts = (("scala", "2.12"), ("spark", "3.5.9"))
    core = replace(core, components=tuple(sorted({**dict(core.components), **dict(parts)}.items())))
    shop.maven.needs = ("x", "bundle")
    return flavoured(shop, core, asked)


def test_a_flavour_has_jars_of_components_and_others(repository: World) -> None:
    lock = with_cloud(repository)
    cloud = lock.flavours[-1]
    assert sorted(names(cloud.jars)) == ["g:delta", "g:extra", "x:bundle"]
    assert [v.python for v in cloud.variants] == [(), ()]
    assert [names(one.jars) for one in lock.flavours[:-1]] == [[], []]
    assert names(lock.part("cloud", "gpu").jars) == names(cloud.jars)
    assert "g:delta" not in names(lock.cut("notebook").whole("cpu").jars)
    text = lock.to_json()
    assert parse_lock(text, file="x").to_json() == text
    alone = with_cloud(repository, without_jars=("x:bundle",)).flavours[-1]
    assert alone.jars == tuple(jar for jar in cloud.jars if jar.name != "x:bundle")


def test_what_a_component_s_metadata_name_in_vain_is_left_out_for_it_alone(
    repository: World,
) -> None:
    (delta,) = CLOUD.wanted
    alone = replace(delta, excludes=("x:bundle",))
    assert names(with_cloud(repository, wanted=(alone,), jars=()).flavours[-1].jars) == ["g:delta"]
    both = with_cloud(repository, wanted=(alone,))
    assert "x:bundle" in names(both.flavours[-1].jars)  # the other one brings it


def test_what_jars_a_flavour_asks_for_counts() -> None:
    others = (replace(CLOUD, jars=()), replace(CLOUD, without_jars=("x:bundle",)))
    assert len({flavour_digest(one) for one in (CLOUD, *others)}) == 3


@pytest.mark.parametrize(
    ("jar", "error", "said"),
    [
        ("g:delta_2.13:4", NoCompatibleVersions, "for Scala 2.13, and Spark's jars here are for"),
        ("org.apache.spark:spark-avro_2.12:3.5.0", NoCompatibleVersions, "a part of Spark 3.5.0"),
        ("org.apache.hadoop:hadoop-aws:3.3.1", NoCompatibleVersions, "a part of Hadoop 3.3.1"),
        ("aws:bundle:3", InvalidDefinition, "aws:bundle:3 is not the bundle of"),
    ],
)
def test_a_jar_that_cannot_go_with_spark(
    repository: World, jar: str, error: type[Exception], said: str
) -> None:
    repository.inside = (
        ShippedJar(group="aws", artifact="bundle", version="2"),
        ShippedJar(group="org.apache.hadoop", artifact="hadoop-client-api", version="3.3.4"),
    )
    with pytest.raises(error, match=said) as caught:
        with_cloud(repository, jars=(jar,))
    assert "runtime.yaml: flavours.cloud.jars" in str(caught.value)


def test_a_jar_that_spark_has_already_is_not_taken_again(repository: World) -> None:
    repository.inside = (ShippedJar(group="g", artifact="extra", version="1"),)
    assert "g:extra" not in names(with_cloud(repository).flavours[-1].jars)


def test_a_flavour_s_jars_are_a_layer_of_its_own(repository: World) -> None:
    lock = with_cloud(repository)
    stack = parse_stack(
        """
layers:
  - {name: python, source: python, packages: ["*"]}
  - {name: jars, source: jars, into: spark/jars}
  - {name: ml, flavour: ml, source: python, packages: ["*"]}
  - {name: notebook, flavour: notebook, source: python, packages: ["*"]}
  - {name: cloud-jars, flavour: cloud, source: jars, into: spark/jars}
config: {user: "1", workdir: /, entrypoint: [], command: [], environment: {}}
""",
        file="layers.yaml",
    )
    made, below = (
        plan(one, "cpu", stack, {}, tools=TOOLS, version="1")
        for one in (lock, lock.cut("notebook"))
    )
    assert made.layers[:-1] == below.layers
    top = made.layers[-1].content
    assert isinstance(top, Jars)
    assert [path for path, _ in top.jars] == [
        f"spark/jars/{jar.filename}" for jar in lock.flavours[-1].jars
    ]
    gone = replace(stack, layers=stack.layers[:-1])
    with pytest.raises(InvalidDefinition, match="flavour 'cloud': g:delta is in no layer"):
        plan(lock, "cpu", gone, {}, tools=TOOLS, version="1")


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
