"""What differs between environments, images, and the files that tell of those of another host."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.cli import main
from mlruntime.definitions.files import Definitions
from mlruntime.documents.reading import read_json
from mlruntime.environment.inventory import (
    Inventory,
    InventoryComparison,
    compared,
    distributions,
    of_environment,
    of_lock,
    read_inventory,
)
from mlruntime.errors import InvalidDefinition, InvalidLock, UsageError
from mlruntime.host.gpus import HostGpus, NoGpus
from mlruntime.host.system import System
from mlruntime.workflows.comparing import host_properties, inventory
from mlruntime.workflows.locked import read_lock

from tests.conftest import CHECKOUT
from tests.unit.environment.test_environment import PYTHON, SITE, World

HOST = {"glibc": "2.36", "processor": "x86_64_v3"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


def changed(
    found: InventoryComparison, group: str
) -> dict[str, tuple[str, str | None, str | None]]:
    of = {"host": found.host, "components": found.components, **found.packages}[group]
    return {c.name: (c.kind, c.a, c.b) for c in of.changed}


def nothing(found: InventoryComparison) -> bool:
    groups = (found.host, found.components, *found.packages.values())
    return not any(group.changed for group in groups)


def test_what_was_just_made_is_what_is_locked(world: World, tmp_path: Path) -> None:
    world.create(tmp_path / "ml")
    found = of_environment(tmp_path / "ml", HOST)
    assert nothing(compared(found, found))
    # An image has an operating system, of which an environment has the few packages it needs.
    image = of_lock(world.lock, "cpu")
    assert {"bash", "openjdk-17-jre-headless"} <= image.packages["debian"].keys()
    assert "bash" not in found.packages["debian"]
    assert nothing(compared(found, image))
    assert nothing(compared(image, image))


def test_packages_that_somebody_changed_are_told(world: World, tmp_path: Path) -> None:
    root = tmp_path / "ml"
    world.create(root)
    before = of_environment(root, HOST)
    site = root / SITE
    (site / "toy-1.dist-info").rename(site / "toy-2.0.dist-info")
    shutil.rmtree(site / "pyspark-1.dist-info")
    (site / "Six_Pack-1.16.dist-info").mkdir()
    (site / "Six_Pack-1.16.dist-info" / "METADATA").write_text("")
    found = compared(before, of_environment(root, HOST | {"glibc": "2.41"}))
    assert changed(found, "python") == {
        "pyspark": ("removed", "1", None),
        "six-pack": ("added", None, "1.16"),
        "toy": ("changed", "1", "2.0"),
    }
    host = changed(found, "host")
    assert host["glibc"] == ("changed", "2.36", "2.41")
    assert host["files not as locked"][1] == "0"
    assert int(host["files not as locked"][2] or 0) > 1


def test_the_same_version_from_elsewhere_is_another_package(world: World, tmp_path: Path) -> None:
    lock = world.lock
    other = replace(lock, python=(replace(lock.python[0], sha256="0" * 64), *lock.python[1:]))
    found = compared(of_lock(lock, "cpu"), of_lock(other, "cpu"))
    assert changed(found, "python") == {"toy": ("remade", "1", "1")}


def test_a_fact_that_one_side_does_not_tell_is_no_difference(world: World) -> None:
    image = of_lock(world.lock, "cpu")
    other = read_inventory(read_json(image.to_json(), file="x"))
    assert other == image
    told = Inventory(**{f: getattr(image, f) for f in image.__struct_fields__} | {"host": HOST})
    assert nothing(compared(image, told))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"inventory": 1', '"inventory": 2', "the inventory has format 2"),
        ('"inventory": 1', '"inventory": "1"', "expected a whole number"),
        ('"damaged": 0', '"damaged": "no"', "expected a whole number"),
        ('"damaged": 0', '"damage": 0', "did you mean 'damaged'"),
        ('"bytes"', '"bites"', "did you mean 'bytes'"),
    ],
)
def test_what_is_no_inventory_says_where(world: World, old: str, new: str, said: str) -> None:
    text = of_lock(world.lock, "cpu").to_json()
    assert old in text
    with pytest.raises(InvalidDefinition) as caught:
        read_inventory(read_json(text.replace(old, new, 1), file="host-b.json"))
    assert said in str(caught.value)
    assert "host-b.json" in str(caught.value.where)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(["inventory", "host", "x"])
    return st.lists(inner, max_size=3) | st.dictionaries(keys, inner)


@given(st.recursive(st.integers() | st.text(max_size=5), nested))
def test_any_other_document_is_refused_or_is_none(value: Any) -> None:
    top = read_json(json.dumps(value), file="x")
    if not isinstance(value, dict) or "inventory" not in value:
        assert read_inventory(top) is None
        return
    with pytest.raises(InvalidDefinition):
        read_inventory(top)


def test_metadata_is_found_by_its_path() -> None:
    paths = [
        "typing_extensions-4.12.2.dist-info/METADATA",
        "horovod-0.28.1+mlr.3.dist-info/METADATA",
        "zope.interface-7.2.dist-info/METADATA",
        "nested/toy-1.dist-info/METADATA",
        "toy-1.dist-info/RECORD",
        "toy.py",
    ]
    assert distributions(paths) == {
        "typing-extensions": "4.12.2",
        "horovod": "0.28.1+mlr.3",
        "zope-interface": "7.2",
    }


def test_properties_of_a_host() -> None:
    system = System(machine="x86_64", glibc="", kernel="6.1")
    assert host_properties(system, NoGpus(what="none")) == {"processor": "x86_64", "linux": "6.1"}
    gpus = HostGpus(driver="550.54.15", cuda="12.4", devices=())
    assert host_properties(system, gpus)["driver"] == "550.54.15"


def layout(folder: Path, labels: dict[str, str]) -> Path:
    """Write an OCI layout whose image has these labels and no layer."""

    def blob(value: Any) -> dict[str, Any]:
        content = json.dumps(value).encode()
        digest = hashlib.sha256(content).hexdigest()
        (folder / "blobs" / "sha256" / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    (folder / "blobs" / "sha256").mkdir(parents=True)
    kind = "application/vnd.oci.image"
    config = blob({"config": {"Labels": labels}, "rootfs": {"type": "layers", "diff_ids": []}})
    manifest = blob(
        {
            "schemaVersion": 2,
            "config": {"mediaType": f"{kind}.config.v1+json", **config},
            "layers": [],
        }
    )
    index = {"manifests": [{"mediaType": f"{kind}.manifest.v1+json", **manifest}]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def of_checkout(world: World, named: str | Path) -> Inventory:
    return inventory(Definitions(CHECKOUT), world.store, str(named), HOST)


def test_every_way_to_name_a_side(world: World, tmp_path: Path) -> None:
    whole = read_lock(Definitions(CHECKOUT), "6.0-ml")
    lock = whole.cut("core")
    labels = {"io.mlruntime.runtime": "6.0-ml", "io.mlruntime.variant": "gpu"}
    labels["io.mlruntime.lock.digest"] = lock.digest
    file = tmp_path / "lock.json"
    file.write_text(whole.to_json())
    carried = tmp_path / "host-b.json"
    carried.write_text(of_lock(lock, "cpu").to_json())
    assert of_checkout(world, "6.0-ml") == of_lock(lock, "cpu")
    assert of_checkout(world, "6.0-ml:gpu-ml") == of_lock(whole.cut("ml"), "gpu")
    assert of_checkout(world, file) == of_lock(lock, "cpu")
    assert of_checkout(world, carried) == of_lock(lock, "cpu")
    assert of_checkout(world, layout(tmp_path / "oci", labels)) == of_lock(lock, "gpu")
    world.create(tmp_path / "ml")
    assert of_checkout(world, tmp_path / "ml").host["python"] == PYTHON


def test_an_image_of_another_lock_is_not_guessed(world: World, tmp_path: Path) -> None:
    labels = {"io.mlruntime.runtime": "6.0-ml", "io.mlruntime.lock.digest": "sha256:0"}
    with pytest.raises(InvalidLock, match="another lock here than this image was built from"):
        of_checkout(world, layout(tmp_path / "old", labels))
    with pytest.raises(UsageError, match="was not built by mlruntime"):
        of_checkout(world, layout(tmp_path / "foreign", {}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="neither an environment nor an OCI layout"):
        of_checkout(world, tmp_path / "empty")


def test_the_verbs(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.create(tmp_path / "ml")
    root, file = str(tmp_path / "ml"), str(tmp_path / "ml.json")
    export = ("--root", str(CHECKOUT), "env", "export")
    assert main([*export, root, "--format", "inventory", "--output", file]) == 0
    assert main([*export, root, "--format", "inventory", "--variant", "cpu"]) == 2
    capsys.readouterr()
    assert main(["--root", str(CHECKOUT), "env", "diff", root, file, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["a"]["lock_digest"] == found["b"]["lock_digest"] == world.lock.digest
    assert found["host"] == found["components"] == []
    assert all(group["changes"] == [] for group in found["packages"].values())
    (tmp_path / "ml" / "lib" / f"python{PYTHON}" / "site-packages" / "toy.py").unlink()
    assert main(["--root", str(CHECKOUT), "env", "diff", file, root]) == 0
    out = capsys.readouterr().out
    assert "files not as locked" in out and "Python packages: 3 the same" in out
