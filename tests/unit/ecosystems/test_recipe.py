"""Recipes: what is read, and what is refused and how it is said."""

from pathlib import Path

import pytest
from mlruntime.ecosystems.native.inputs import load_recipes
from mlruntime.ecosystems.native.recipe import PatchedRelease, Recipe, UnpackedPackage, parse_recipe
from mlruntime.errors import InvalidDefinition
from mlruntime.matrix.parsing import parse_matrix

FULL = """
name: horovod
link-against: [tensorflow]
requirements: ["cmake<4", wheel]
build-depends: [g++]
requires-dist: ["psutil", "dataclasses; python_version < '3.7'"]
environment: {B: "2", A: "1"}
patched: {1.0+mlr.1: {of: "1.0", patches: [two.patch, one.patch]}}
"""


def test_everything_a_recipe_can_say() -> None:
    assert parse_recipe(FULL, file="r") == Recipe(
        name="horovod",
        link_against=("tensorflow",),
        requirements=("cmake<4", "wheel"),
        build_depends=("g++",),
        requires_dist=("psutil", 'dataclasses; python_version < "3.7"'),
        environment=(("A", "1"), ("B", "2")),
        patched=(
            PatchedRelease(version="1.0+mlr.1", of="1.0", patches=("two.patch", "one.patch")),
        ),
    )


def test_what_a_wheel_requires_may_depend_on_its_version() -> None:
    recipe = parse_recipe(
        "name: x\nrequires-dist: [a]\nrequires-dist-of: {'<2': [b==1], '>=2': [b==2, c]}", file="r"
    )
    assert recipe.requires("1.9") == ("a", "b==1")
    assert recipe.requires("2.0") == ("a", "b==2", "c")


def test_every_release_of_pyspark_has_one_py4j() -> None:
    root = Path(__file__).parents[3]
    recipe = load_recipes(root / "images")["pyspark"].recipe
    matrix = parse_matrix((root / "matrix.yaml").read_text(encoding="utf-8"), file="matrix.yaml")
    for release in matrix.components["spark"].releases:
        assert len(recipe.requires(str(release))) == 1, release


def test_only_the_name_must_be_there() -> None:
    assert parse_recipe("name: x", file="r").requirements == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nme: x", "r: nme: unknown key 'nme'\n  try: did you mean 'name'?"),
        ("link-against: [x]", "r: missing key 'name'"),
        (
            "name: x\nrequires-dist-of: {new: [a]}",
            "r: requires-dist-of.new: 'new' does not specify versions",
        ),
        (
            "name: Foo_Bar",
            "r: name: 'Foo_Bar' is not a normalised package name\n  try: write 'foo-bar'",
        ),
        (
            "name: x\npatched: {1+a: {of: '1', patches: [a/b]}}",
            "r: patched.1+a.patches[0]: a patch is a file beside the recipe",
        ),
        (
            "name: x\npatched: {1.1+a: {of: '1', patches: [a]}}",
            "r: patched.1.1+a: 1.1+a is not a patched release of 1\n  try: a local label: 1+mlr.1",
        ),
        ("name: x\npatched: {'1': {of: '1', patches: [a]}}", "1 is not a patched release of 1"),
        ("name: x\npatched: {1+a: {of: one, patches: [a]}}", "r: patched.1+a: Invalid version"),
        ("name: x\npatched: {1+a: {of: '1', patches: []}}", "is the published one"),
        ("name: x\npatched: {1+a: {of: '1'}}", "r: patched.1+a: missing key 'patches'"),
        (
            "name: x\nenvironment: {A B: x}",
            "r: environment.A B: 'A B' is not the name of an environment",
        ),
        ("name: x\nenvironment: {A: 1}", "r: environment.A: expected text, found a whole number"),
        (
            "name: x\nrequirements: ['cmake<<4']",
            "r: requirements[0]: 'cmake<<4' is not a requirement",
        ),
        ("name: x\nrequirements: ['a @ https://x/y.whl']", "requirement must not name an address"),
        ("name: [", "r:2:1: not valid YAML"),
        (
            "name: x\nvariants: {gqu: {}}",
            "r: variants.gqu: unknown value 'gqu'\n  try: did you mean 'gpu'?",
        ),
        (
            "name: x\nvariants: {gpu: {build-depends: [g++]}}",
            "r: variants.gpu.build-depends: unknown key 'build-depends'",
        ),
        ("name: x\nprepare: a/b.sh", "r: prepare: a script is a file beside the recipe"),
        (
            "name: x\nbuild-depends-unpacked: [{package: nvcc, release: '13'}]",
            "r: build-depends-unpacked[0]: missing key 'area'",
        ),
        (
            "name: x\nvariants: {gpu: {patched: {1+a: {of: '1', patches: [p]}}}}",
            "r: variants.gpu.patched: 1+a is no patched release of this recipe",
        ),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_recipe(text, file="r")
    assert said in str(caught.value)


def recipe(images: Path, folder: str, text: str, **files: str) -> None:
    (images / folder).mkdir(parents=True)
    (images / folder / "recipe.yaml").write_text(text)
    for name, content in files.items():
        (images / folder / f"{name}.patch").write_text(content)


def test_patches_are_hashed_in_the_order_they_are_applied(tmp_path: Path) -> None:
    patched = "patched: {1.0+mlr.1: {of: '1.0', patches: [b.patch, a.patch]}}"
    recipe(tmp_path, "x", f"name: x\n{patched}", a="1", b="2")
    loaded = load_recipes(tmp_path)["x"]
    patches = loaded.patches_of("1.0+mlr.1")
    assert [name for name, _ in patches] == ["b.patch", "a.patch"]
    assert loaded.patches_of("1.0") == ()
    assert patches[1][1] == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"


def test_a_missing_patch_and_a_second_recipe_are_errors(tmp_path: Path) -> None:
    recipe(tmp_path / "a", "x", "name: x\npatched: {1+a: {of: '1', patches: [b.patch]}}")
    with pytest.raises(InvalidDefinition, match="beside the recipe"):
        load_recipes(tmp_path / "a")
    recipe(tmp_path / "b", "x", "name: x")
    recipe(tmp_path / "b", "y", "name: x")
    with pytest.raises(InvalidDefinition, match="two recipes for x"):
        load_recipes(tmp_path / "b")


def test_a_variant_adds_and_the_recipe_knows_all_files() -> None:
    read = parse_recipe(
        FULL + "variants: {gpu: {link-against: [nccl], environment: {B: '2'}, prepare: cuda.sh,"
        " build-depends-unpacked: [{package: nvcc, release: '13', area: non-free}],"
        " patched: {1.0+mlr.1: {of: '1.0', patches: [three.patch]}}}}\n",
        file="r",
    )
    gpu, cpu = read.of("gpu"), read.of("cpu")
    assert cpu == parse_recipe(FULL, file="r")
    assert gpu.link_against == (*cpu.link_against, "nccl")
    assert dict(gpu.environment) == dict(cpu.environment) | {"B": "2"}
    assert gpu.release("1.0+mlr.1").patches == (*cpu.release("1.0+mlr.1").patches, "three.patch")
    assert gpu.release("1.0").patches == ()
    assert gpu.build_depends_unpacked == (
        UnpackedPackage(package="nvcc", release="13", area="non-free"),
    )
    assert read.files == ("two.patch", "one.patch", "three.patch", "cuda.sh")
    assert gpu.of("gpu") == gpu


def test_a_published_release_is_built_from_itself() -> None:
    read = parse_recipe(FULL, file="r")
    assert read.release("1.0") == PatchedRelease(version="1.0", of="1.0", patches=())
    assert read.release("1.0+mlr.1").of == "1.0"
    assert read.patches == ("two.patch", "one.patch")
