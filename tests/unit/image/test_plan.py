"""The plan: layers by key; and the OCI documents made from it."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.directory import DirectorySink
from mlruntime.ecosystems.place import image_place
from mlruntime.environment.contents import contents
from mlruntime.errors import InvalidDefinition
from mlruntime.image import oci
from mlruntime.image.plan import Plan, built_on, left_out, plan
from mlruntime.image.sources.literal import LiteralFiles
from mlruntime.image.sources.model import Apart, PlannedLayer, Tools
from mlruntime.image.sources.python import PythonPackages
from mlruntime.image.sources.python_files import ApartFiles, ApartSource, LeftOut
from mlruntime.image.stack import parse_stack
from mlruntime.layers.gzipped import LayerBlob
from mlruntime.lock.contract import PATH, HostContract
from mlruntime.lock.model import Flavour, Lock, Variant
from mlruntime.lock.packages import Artifact, DummyPackage, NativeWheel, Omission
from mlruntime.workflows.locked import read_lock, read_stack
from mlruntime.workflows.planning import planned_image

from tests.conftest import CHECKOUT
from tests.unit.wheels import made_wheel

TOOLS = Tools(
    unpacking="u", configuring="b", configuring_more="m", bytecode="c", native=lambda _: "n"
)
STACK = """\
layers:
  - {name: os, source: debian, packages: ["*"]}
  - {name: libc, source: debian, packages: ["libc{{ 6 }}"]}
  - {name: configured, source: configured}
  - name: environment
    source: files
    files: environment
    links: {"opt/ml/bin/python": "/usr/bin/python{{ python.minor }}"}
  - {name: numpy, source: python, packages: [numpy]}
  - {name: rest, source: python, packages: ["*"]}
  - {name: horovod, source: python, packages: [horovod]}
  - {name: jars, source: jars, into: "{{ site_packages }}/pyspark/jars"}
  - {name: sparkdl, source: library, library: sparkdl}
config:
  user: "1000:1000"
  workdir: /home/ml
  entrypoint: [tini]
  command: [bash]
  environment: {SPARK: "{{ spark.full }}"}
"""
FILES = {
    "layers.yaml": STACK.encode(),
    "rootfs/environment/opt/ml/pyvenv.cfg.j2": b"version = {{ python.full }}\n",
    "sparkdl/sparkdl/__init__.py": b"",
}


def artifact(kind: str, name: str, version: str = "1") -> Artifact:
    return Artifact(
        kind=kind,
        name=name,
        version=version,
        filename=f"{name}-{version}.{kind}",
        size=10,
        sha256=(name + version).encode().hex().ljust(64, "0")[:64],
        origin="pypi",
    )


def native(name: str) -> NativeWheel:
    return NativeWheel(
        name=name,
        version="0.28.1",
        python="3.11",
        sdist=artifact("sdist", name),
        link_against=(artifact("wheel", "tensorflow-cpu"),),
        requirements=(),
        environment=(("A", "1"),),
        patches=(),
        base="sha256:1",
        build_depends="sha256:2",
    )


def lock() -> Lock:
    return Lock(
        runtime="6.0-ml",
        inputs=(("matrix", "sha256:0"),),
        snapshot="2026-11-20T00:00:00Z",
        components=(("python", "3.11"), ("spark", "3.5.9"), ("graphframes", "0.11.0")),
        omitted=(Omission(component="graphframes", artifact="io:g:1", why="not there"),),
        os=(artifact("deb", "python3.11"), artifact("deb", "libc6")),
        build_depends=(),
        python=(artifact("wheel", "numpy"), artifact("wheel", "six")),
        jars=(),
        variants=(
            Variant(
                name="cpu",
                python=(artifact("wheel", "tensorflow-cpu"),),
                native=(native("horovod"),),
            ),
        ),
    )


def planned(of: Lock, files: dict[str, bytes] | None = None) -> Plan:
    stack = parse_stack((files or FILES)["layers.yaml"].decode(), file="images/layers.yaml")
    return plan(of, "cpu", stack, files or FILES, tools=TOOLS, version="1.0")


def keys(of: Plan) -> dict[str, str]:
    return {layer.name: layer.key for layer in of.layers}


def python_of(layer: PlannedLayer) -> PythonPackages:
    assert isinstance(layer.content, PythonPackages)
    return layer.content


def literal_of(layer: PlannedLayer) -> LiteralFiles:
    assert isinstance(layer.content, LiteralFiles)
    return layer.content


def changed(before: Plan, after: Plan) -> set[str]:
    old, new = keys(before), keys(after)
    return {name for name in old | new if old.get(name) != new.get(name)}


def test_every_package_has_exactly_one_layer() -> None:
    layers = {layer.name: layer for layer in planned(lock()).layers}
    wheels = {n: python_of(x).wheels for n, x in layers.items() if n in ("numpy", "rest")}
    assert {name: [a.name for a in found] for name, found in wheels.items()} == {
        "numpy": ["numpy"],
        "rest": ["six", "tensorflow-cpu"],
    }
    assert [n.name for n in layers["horovod"].content.native] == ["horovod"]


CONTRACT = HostContract(
    minimum_driver="525.60.13", cuda="12.5", architectures=("8.0",), ptx=("9.0",), memory_mib=1
)


def test_a_variant_with_a_contract_carries_it() -> None:
    stack = STACK.replace(
        "  - {name: sparkdl", "  - {name: contract, source: contract}\n  - {name: sparkdl"
    )
    before = lock()
    cpu = before.variants[0]
    gpu = replace(cpu, name="gpu", contract=CONTRACT, components=(("cuda", "12.9"),))
    both = replace(before, variants=(cpu, gpu))
    plans = {
        name: plan(both, name, parse_stack(stack, file="s"), FILES, tools=TOOLS, version="1")
        for name in ("cpu", "gpu")
    }
    (layer,) = (layer for layer in plans["gpu"].layers if layer.name == "contract")
    files = literal_of(layer).files
    assert [(f.path, f.content.decode()) for f in files] == [(PATH, CONTRACT.to_json())]
    labels = dict(plans["gpu"].config.labels)
    assert dict(CONTRACT.labels()).items() <= labels.items()
    assert labels["io.mlruntime.component.cuda"] == "12.9"
    assert "contract" not in {layer.name for layer in plans["cpu"].layers}
    assert not [name for name in dict(plans["cpu"].config.labels) if ".cuda" in name]


def test_a_native_wheel_is_built_on_what_all_have_and_what_it_is_linked_with() -> None:
    before = lock()
    found = planned(before)
    wheel = next(n for layer in found.layers for n in layer.content.native)
    names = [layer.name for layer in built_on(found, before, wheel)]
    assert names == ["os", "libc", "configured", "environment", "numpy", "rest"]
    own = artifact("wheel", "nvidia-cudnn")
    cpu = before.variants[0]
    more = replace(before, variants=(replace(cpu, python=(*cpu.python, own)),))
    stack = STACK.replace(
        "  - {name: horovod",
        "  - {name: cudnn, source: python, packages: [nvidia-cudnn],"
        " linked: nvidia/*/lib}\n  - {name: horovod",
    )
    found = plan(more, "cpu", parse_stack(stack, file="s"), FILES, tools=TOOLS, version="1")
    (cudnn,) = (layer for layer in found.layers if layer.name == "cudnn")
    assert python_of(cudnn).linked == "nvidia/*/lib"
    assert [layer.name for layer in built_on(found, more, wheel)] == names
    linked = replace(wheel, link_against=(*wheel.link_against, own))
    more = replace(more, variants=(replace(more.variants[0], native=(linked,)),))
    found = plan(more, "cpu", parse_stack(stack, file="s"), FILES, tools=TOOLS, version="1")
    assert [layer.name for layer in built_on(found, more, linked)] == [*names, "cudnn"]


def test_what_a_layer_leaves_out_is_there_to_compile_against_and_told() -> None:
    before = lock()
    kept = "{files: toy/include/*, why: headers, but: [toy/include/a.h]}"
    rest = '  - {name: rest, source: python, packages: ["*"]'
    text = STACK.replace(rest, f"{rest}, left-out: [{kept}]")
    found = plan(before, "cpu", parse_stack(text, file="s"), FILES, tools=TOOLS, version="1.0")
    assert changed(planned(before), found) == {"rest"}
    (rest_layer,) = (layer for layer in found.layers if layer.name == "rest")
    names = {wheel.name for wheel in python_of(rest_layer).wheels}
    assert left_out(found.layers) == dict.fromkeys(names, "toy/include/*: headers")
    labels = dict(found.config.labels)
    assert {labels[f"io.mlruntime.left-out.{name}"] for name in names} == {"toy/include/*: headers"}
    wheel = next(n for layer in found.layers for n in layer.content.native)
    below = built_on(found, before, wheel)
    assert [layer.name for layer in below][-2:] == ["rest", "rest, left out"]
    assert [a.name for a in below[-1].content.artifacts] == sorted(names)
    assert below[-1] not in found.layers


FLAVOURED_OS = """\
  - {name: ml-os, flavour: ml, source: debian, packages: ["*"]}
  - {name: ml-configured, flavour: ml, source: configured}
"""


def with_git(version: str = "1") -> Lock:
    """Return the lock with a flavour that has a Debian package and nothing else."""
    ml = Flavour(
        name="ml", request="sha256:1", components=(), omitted=(), python=(), jars=(), variants=(),
        os=(artifact("deb", "git", version),),
    )  # fmt: skip
    return replace(lock(), flavours=(ml,))


def test_debian_packages_of_a_flavour_are_configured_on_top_of_core_s() -> None:
    files = FILES | {"layers.yaml": STACK.replace("config:\n", FLAVOURED_OS + "config:\n").encode()}
    found, core = planned(with_git(), files), planned(lock(), files)
    assert keys(core) == keys(planned(lock()))
    assert core.digest == planned(lock()).digest
    assert [layer.name for layer in found.layers] == [
        *(layer.name for layer in core.layers), "ml-os", "ml-configured",
    ]  # fmt: skip
    assert [a.name for a in found.layers[-1].content.artifacts] == ["git"]
    assert changed(found, planned(with_git("2"), files)) == {"ml-os", "ml-configured"}
    other = replace(with_git(), os=(artifact("deb", "python3.11"), artifact("deb", "libc6", "2")))
    assert "ml-configured" in changed(found, planned(other, files))
    assert "ml-os" not in changed(found, planned(other, files))


def test_what_is_configured_for_a_flavour_does_not_depend_on_flavours_above_it() -> None:
    """Images of both share the layer; ``changed`` compares it by its key."""
    both = FLAVOURED_OS + FLAVOURED_OS.replace("ml", "notebook")
    files = FILES | {"layers.yaml": STACK.replace("config:\n", both + "config:\n").encode()}
    above = replace(with_git().flavours[0], name="notebook", os=(artifact("deb", "curl"),))
    higher = replace(with_git(), flavours=(*with_git().flavours, above))
    found, below = planned(higher, files), planned(higher.cut("ml"), files)
    assert [layer.name for layer in found.layers][-2:] == ["notebook-os", "notebook-configured"]
    assert changed(found, below) == {"notebook-os", "notebook-configured"}


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (FLAVOURED_OS.splitlines()[0] + "\n", "Debian packages of flavour ml must be configured"),
        ("", "flavour 'ml': git is in no layer"),
    ],
)
def test_debian_packages_of_a_flavour_need_their_layers(layers: str, said: str) -> None:
    files = FILES | {"layers.yaml": STACK.replace("config:\n", layers + "config:\n").encode()}
    with pytest.raises(InvalidDefinition) as caught:
        planned(with_git(), files)
    assert said in str(caught.value)


def with_apart(package: str) -> str:
    """Return the stack with files of a package in a layer of their own, below all packages."""
    one = f"  - {{name: data, source: apart, package: {package}, files: [data/*]}}"
    return STACK.replace("  - {name: numpy", f"{one}\n  - {{name: numpy", 1)


def test_files_apart_have_a_layer_and_their_package_leaves_them_out() -> None:
    before = lock()
    stack = parse_stack(with_apart("numpy"), file="s")
    found = plan(before, "cpu", stack, FILES, tools=TOOLS, version="1.0")
    assert changed(planned(before), found) == {"data", "numpy"}
    (data,) = (layer for layer in found.layers if layer.name == "data")
    assert isinstance(data.content, ApartFiles)
    assert [a.name for a in data.content.artifacts] == ["numpy"]
    (numpy,) = (layer for layer in found.layers if layer.name == "numpy")
    assert [one.files for one in python_of(numpy).apart] == [("data/*",)]
    # What is compiled against the package has all of its files.
    wheel = next(n for layer in found.layers for n in layer.content.native)
    assert data in built_on(found, before, wheel)
    assert contents(found, before).wheels == contents(planned(before), before).wheels


def test_what_two_layers_want_of_a_package_is_in_the_upper_one() -> None:
    more = "  - {name: more, source: apart, package: numpy, files: [data/a*]}"
    text = with_apart("numpy").replace("  - {name: numpy", f"{more}\n  - {{name: numpy", 1)
    found = plan(
        lock(), "cpu", parse_stack(text, file="s"), FILES, tools=TOOLS, version="1.0"
    ).layers
    parts = {x.name: x.content for x in found if isinstance(x.content, ApartFiles)}
    assert list(parts) == ["data", "more"]
    paths = ("data/a.bin", "data/b.bin", "data/a.py", "numpy.data/a", "other/a")
    assert {name: [p for p in paths if one.has(p)] for name, one in parts.items()} == {
        "data": ["data/b.bin"],
        "more": ["data/a.bin"],
    }


def test_files_apart_are_those_of_their_package_alone(tmp_path: Path) -> None:
    """What a pattern matches of another wheel of the layer is in no other layer."""
    wheels = [made_wheel(tmp_path, name, {f"{name}/x.so": "so"}) for name in ("one", "other")]
    stored = tuple(
        Artifact(kind="wheel", name=w.name.partition("-")[0], version="1", filename=w.name, size=1,
                 sha256=sha256(w.read_bytes()).hexdigest(), origin="pypi")
        for w in wheels
    )  # fmt: skip
    supplies = SimpleNamespace(
        place=image_place("3.11"),
        file=dict(zip(stored, wheels, strict=True)).__getitem__,
        bytecode=lambda _: None,
    )
    apart = Apart(package="one", files=("*.so",))
    content = PythonPackages(wheels=stored, apart=(apart,))
    (tmp_path / "root").mkdir()
    with DirectorySink(tmp_path / "root") as sink:
        content.write(sink, supplies)  # type: ignore[arg-type]
    assert sorted(path.name for path in (tmp_path / "root").rglob("*.so")) == ["x.so"]
    assert not list((tmp_path / "root").rglob("one/x.so"))


def test_files_apart_of_a_package_of_other_runtimes_change_nothing() -> None:
    before, text = lock(), with_apart("absent").replace("[horovod]", "[horovod, Absent]")
    found = plan(before, "cpu", parse_stack(text, file="s"), FILES, tools=TOOLS, version="1.0")
    assert keys(found) == keys(planned(before, FILES | {"layers.yaml": text.encode()}))
    assert [layer.name for layer in found.layers] == [
        layer.name for layer in planned(before).layers
    ]


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("nunpy", "did you mean 'numpy'?"),
        ("absent", "known: horovod, numpy, six, tensorflow-cpu"),
    ],
)
def test_files_apart_of_a_package_that_nobody_has_are_refused(package: str, said: str) -> None:
    stack = parse_stack(with_apart(package), file="s")
    with pytest.raises(InvalidDefinition) as caught:
        plan(lock(), "cpu", stack, FILES, tools=TOOLS, version="1.0")
    assert said in str(caught.value)


def test_the_package_of_files_apart_may_be_spelt_as_its_authors_do() -> None:
    one, other = (parse_stack(with_apart(name), file="s") for name in ("NumPy", "numpy"))
    found = [plan(lock(), "cpu", x, FILES, tools=TOOLS, version="1.0") for x in (one, other)]
    assert keys(found[0]) == keys(found[1])
    assert "data" in keys(found[0])


def test_files_apart_of_a_package_of_another_flavour_are_refused() -> None:
    """A layer of core can have none of them."""
    definitions = Definitions(CHECKOUT)
    whole = read_lock(definitions, "7.0-ml").cut("ml")
    stack = read_stack(definitions)
    data = ApartSource(name="data", package="statsmodels", files=("statsmodels/datasets/*",))
    wrong = replace(stack, layers=(data, *stack.layers))
    with pytest.raises(InvalidDefinition, match="core has no Python package") as caught:
        plan(whole, "cpu", wrong, definitions.image_files(), tools=TOOLS, version="1")
    assert caught.value.hint == "write `flavour: ml`"


def test_files_that_are_left_out_and_apart_are_refused(tmp_path: Path) -> None:
    wheel = made_wheel(tmp_path, "one", {"one/x.so": "so", "one/y.so": "so"})
    stored = Artifact(kind="wheel", name="one", version="1", filename=wheel.name, size=1,
                      sha256=sha256(wheel.read_bytes()).hexdigest(), origin="pypi")  # fmt: skip
    supplies = SimpleNamespace(
        place=image_place("3.11"), file=lambda _: wheel, bytecode=lambda _: None
    )
    content = PythonPackages(
        wheels=(stored,),
        left_out=(LeftOut(files="one/y.*", why="not needed"),),
        apart=(Apart(package="one", files=("*.so",)),),
    )
    (tmp_path / "root").mkdir()
    with (
        DirectorySink(tmp_path / "root") as sink,
        pytest.raises(InvalidDefinition, match=r"one/y\.so is left out, and in a layer of its own"),
    ):
        content.write(sink, supplies)  # type: ignore[arg-type]


def test_an_empty_layer_is_no_layer() -> None:
    assert "jars" not in keys(planned(lock()))


def test_one_pin_changes_one_layer() -> None:
    before = lock()
    after = replace(before, python=(artifact("wheel", "numpy", "2"), artifact("wheel", "six")))
    assert changed(planned(before), planned(after)) == {"numpy"}


def test_a_native_wheel_changes_with_what_it_was_compiled_against() -> None:
    before = lock()
    other = replace(native("horovod"), link_against=(artifact("wheel", "tensorflow-cpu", "2"),))
    cpu = replace(before.variants[0], native=(other,))
    assert changed(planned(before), planned(replace(before, variants=(cpu,)))) == {"horovod"}


def test_another_interpreter_changes_every_python_layer() -> None:
    before = lock()
    after = replace(before, os=(artifact("deb", "python3.11", "2"), artifact("deb", "libc6")))
    assert changed(planned(before), planned(after)) == {
        "os", "configured", "numpy", "rest", "horovod"
    }  # fmt: skip


def test_a_dummy_package_is_metadata_beside_the_package_it_stands_for() -> None:
    before = lock()
    (cpu,) = before.variants
    dummy = DummyPackage(name="tensor-flow", version="2.15.1", by="tensorflow-cpu")
    after = planned(replace(before, variants=(replace(cpu, dummy_packages=(dummy,)),)))
    assert changed(planned(before), after) == {"rest"}
    (layer,) = (layer for layer in after.layers if layer.name == "rest")
    files = {file.path.rpartition("/")[2]: file for file in python_of(layer).files}
    assert files["METADATA"].path == (
        "opt/ml/lib/python3.11/site-packages/tensor_flow-2.15.1.dist-info/METADATA"
    )
    lines = files["METADATA"].content.decode().splitlines()
    assert lines[1:3] == ["Name: tensor-flow", "Version: 2.15.1"]
    assert lines[-1] == "Requires-Dist: tensorflow-cpu==2.15.1"
    listed = files["RECORD"].content.decode().split(",,\n")
    assert [path for path in listed if path] == sorted(
        f"tensor_flow-2.15.1.dist-info/{name}" for name in files
    )


def test_a_package_that_is_not_the_interpreter_changes_its_layer_and_what_is_configured() -> None:
    before = lock()
    after = replace(before, os=(artifact("deb", "python3.11"), artifact("deb", "libc6", "2")))
    assert changed(planned(before), planned(after)) == {"libc", "configured"}


def test_debian_packages_are_shared_out_and_configured_together() -> None:
    layers = {layer.name: layer for layer in planned(lock()).layers}
    found = {n: [a.name for a in layers[n].content.artifacts] for n in ("os", "libc", "configured")}
    assert found == {
        "os": ["python3.11"],
        "libc": ["libc6"],
        "configured": ["python3.11", "libc6"],
    }
    artifacts = planned(lock()).artifacts
    assert len(artifacts) == len(set(artifacts))


def test_files_are_rendered_and_libraries_become_distributions() -> None:
    layers = {layer.name: layer for layer in planned(lock()).layers}
    environment = literal_of(layers["environment"])
    assert [(f.path, f.content) for f in environment.files] == [
        ("opt/ml/pyvenv.cfg", b"version = 3.11\n")
    ]
    assert environment.links == (("opt/ml/bin/python", "/usr/bin/python3.11"),)
    site = "opt/ml/lib/python3.11/site-packages"
    paths = {f.path for f in literal_of(layers["sparkdl"]).files}
    assert {f"{site}/sparkdl/__init__.py", f"{site}/sparkdl-1.0.dist-info/METADATA"} <= paths


def test_labels_name_every_component_and_what_was_left_out() -> None:
    labels = dict(planned(lock()).config.labels)
    assert labels["io.mlruntime.lock.digest"] == lock().digest
    assert labels["io.mlruntime.component.spark"] == "3.5.9"
    assert "io.mlruntime.component.graphframes" not in labels
    assert labels["io.mlruntime.omitted.graphframes"] == "not there"


def test_the_digest_of_a_plan_tells_all_that_decides_the_image() -> None:
    before = planned(lock())
    assert planned(lock()).digest == before.digest
    others = {
        planned(lock(), FILES | {path: content + b"# more\n"}).digest
        for path, content in FILES.items()
        if path.startswith(("rootfs/", "sparkdl/"))
    }
    root = STACK.replace('user: "1000:1000"', 'user: "0:0"').encode()
    others.add(planned(lock(), FILES | {"layers.yaml": root}).digest)
    assert before.digest not in others
    assert len(others) > 2


def test_an_image_is_labelled_with_the_digest_of_its_plan_which_does_not_count_itself() -> None:
    found = planned(lock())
    label = {"io.mlruntime.plan.digest": found.digest}
    assert dict(found.image_config.labels) == dict(found.config.labels) | label
    assert list(found.image_config.labels) == sorted(found.image_config.labels)
    assert planned(lock()).digest == found.digest


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("files: environment", "files: enviroment", "there is no folder images/rootfs/enviroment/"),
        ("spark.full", "sparc.full", "'sparc' is undefined"),
        ("{{ spark.full }}", "{{ spark.full", "unexpected end of template"),
        ("source: debian", "source: debain", "did you mean 'debian'"),
        ("into:", "onto:", "did you mean 'into'"),
        ("packages: [numpy]", "packages: [horovod]", "'horovod' is in two layers"),
        ('"libc{{ 6 }}"', '"libc{{ 7 }}"', "no Debian package of the lock matches 'libc7'"),
        (
            'rest, source: python, packages: ["*"]',
            "rest, source: python, packages: [six]",
            "python packages that no layer names have no place",
        ),
        ('debian, packages: ["*"]', "debian, packages: [tini]", "debian packages that no layer"),
        (
            'packages: ["libc{{ 6 }}"]',
            'packages: ["lib*"]}\n  - {name: two, source: debian, packages: [libc6]',
            "package 'libc6' is in two layers, libc and two",
        ),
        (
            "{name: configured, source: configured}",
            "{name: configured, source: configured}\n"
            "  - {name: late, source: debian, packages: [tini]}",
            "must be configured once",
        ),
        (
            "{name: configured, source: configured}",
            "{name: configured, source: configured}\n  - {name: twice, source: configured}",
            "must be configured once",
        ),
        ("configured, source: configured", "contract, source: contract", "must be configured once"),
        ("name: numpy", "name: rest", "two layers are called 'rest'"),
    ],
)
def test_a_wrong_stack_is_told_with_its_place(old: str, new: str, said: str) -> None:
    files = FILES | {"layers.yaml": STACK.replace(old, new).encode()}
    with pytest.raises(InvalidDefinition) as error:
        planned(lock(), files)
    assert said in str(error.value)
    assert "images/layers.yaml" in str(error.value)


def test_oci_documents() -> None:
    blob = LayerBlob(diff_id="sha256:aa", digest="sha256:bb", size=3, unpacked=9)
    config = oci.config(planned(lock()).config, [("os", blob)], created="2026-11-20T00:00:00Z")
    manifest = oci.manifest(config, [blob], {"a": "b"})
    image = json.loads(config.content)
    assert image["rootfs"] == {"type": "layers", "diff_ids": ["sha256:aa"]}
    assert image["config"]["User"] == "1000:1000"
    assert image["config"]["Env"] == ["SPARK=3.5.9"]
    document = json.loads(manifest.content)
    assert document["config"]["digest"] == config.digest
    assert document["layers"][0]["digest"] == "sha256:bb"
    files = oci.layout_files(config, manifest, "x:cpu")
    assert files[f"blobs/sha256/{config.digest[7:]}"] == config.content
    assert json.loads(files["index.json"])["manifests"][0]["digest"] == manifest.digest


def test_the_shipped_stack_is_sound() -> None:
    text = (Path(__file__).parents[3] / "images" / "layers.yaml").read_text()
    stack = parse_stack(text, file="images/layers.yaml")
    assert [layer.name for layer in stack.layers][:4] == ["interpreter", "os", "java", "configured"]


def test_a_shared_directory_is_in_the_key_and_a_template_knows_what_is_locked() -> None:
    old = "    files: environment\n"
    stack = STACK.replace(old, f"{old}    shared: [home/ml]\n")
    files = FILES | {
        "layers.yaml": stack.encode(),
        "rootfs/environment/pins.j2": b"{% for name, version in locked %}{{ name }}={{ version }} "
        b"{% endfor %}",
    }
    first, second = planned(lock()), planned(lock(), FILES | {"layers.yaml": stack.encode()})
    assert changed(first, second) == {"environment"}
    layers = planned(lock(), files).layers
    layer = literal_of(next(la for la in layers if la.name == "environment"))
    assert layer.shared == ("home/ml",)
    pins = next(file for file in layer.files if file.path == "pins")
    assert pins.content == b"horovod=0.28.1 numpy=1 six=1 tensorflow-cpu=1 "


@pytest.mark.parametrize(
    ("flavour", "command"), [("core", "bash"), ("ml", "bash"), ("notebook", "notebook")]
)
def test_an_image_with_jupyterlab_starts_it(flavour: str, command: str) -> None:
    definitions = Definitions(CHECKOUT)
    lock = read_lock(definitions, "7.0-ml").cut(flavour)
    assert planned_image(definitions, lock, "cpu").config.command == (command,)
