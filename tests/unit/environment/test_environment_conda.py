"""Environments and images with conda packages: their Python, their prefix, wheels on top."""

import io
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.ecosystems.place import image_place
from mlruntime.environment.creation import Order, create
from mlruntime.environment.description import read_files
from mlruntime.environment.interpreter import conda_interpreter
from mlruntime.environment.linking import Linker
from mlruntime.environment.packing import pack
from mlruntime.environment.repairing import repair
from mlruntime.environment.verification import differences
from mlruntime.errors import InvalidDefinition, UsageError
from mlruntime.image.plan import Plan, plan
from mlruntime.image.sources.conda import CondaPackages
from mlruntime.image.sources.model import Tools
from mlruntime.image.stack import parse_stack
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import CondaPackage
from mlruntime.workflows.environment.managing import Prepared, prepare

from tests.unit.channels import PLACEHOLDER, Member, Package
from tests.unit.environment.test_environment import FILES, PYTHON, STACK, World

CONDA = '  - {name: conda, source: conda, packages: ["*"]}\n'
LINK = "/usr/bin/python{{ python.minor }}"
WITH_CONDA = STACK.replace("  - name: environment\n", f"{CONDA}  - name: environment\n", 1).replace(
    LINK, '"{{ interpreter }}/python{{ python.minor }}"'
)
PACKAGES = (
    Package(
        name="python",
        version=f"{PYTHON}.0",
        files={
            f"bin/python{PYTHON}": Member(
                content=f'#!/bin/sh\nexec {sys.executable} "$@"\n'.encode(), executable=True
            ),
            "bin/python": Member(target=f"python{PYTHON}"),
        },
    ),
    Package(
        name="tool",
        noarch="python",
        entry_points=("tool = tool:main",),
        files={"site-packages/tool.py": Member(content=b"def main(): print('tool')\n")},
        depends=("python",),
        ending=".tar.bz2",
    ),
    Package(
        name="lib",
        files={
            "etc/lib.conf": Member(content=f"at {PLACEHOLDER}\n".encode(), mode="text"),
            "lib/libx.so": Member(content=f"\0{PLACEHOLDER}/x\0end".encode(), mode="binary"),
        },
    ),
)


class CondaWorld(World):
    """The same, with packages of a channel, Python among them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.conda = []
        for package in PACKAGES:
            path = folder / "registry" / package.filename
            path.write_bytes(package.bytes())
            artifact = replace(
                self.artifact_of("conda", f"conda:{package.subdir}:toys", path),
                name=package.name,
                version=package.version,
            )
            self.registry[artifact.sha256] = path
            self.conda.append(
                CondaPackage(artifact=artifact, build="0", md5="", depends=package.depends)
            )

    @property
    def lock(self) -> Lock:
        return replace(super().lock, conda=tuple(self.conda))

    @property
    def plan(self) -> Plan:
        return self.planned(WITH_CONDA)

    def planned(self, stack: str) -> Plan:
        tools = Tools(
            unpacking="u", configuring="b", configuring_more="m", bytecode="c", native=lambda _: "n"
        )
        found = parse_stack(stack, file="images/layers.yaml")
        return plan(self.lock, "cpu", found, FILES, tools=tools, version="1")

    def order(self, target: Path, found: Prepared | None = None) -> Order:
        order = super().order(target, found or prepare(self.plan, self.lock, self.host, target))
        python = conda_interpreter(self.lock, "cpu", target)
        assert python is not None
        return replace(order, interpreter=python)


@pytest.fixture
def world(tmp_path: Path) -> CondaWorld:
    return CondaWorld(tmp_path / "world")


@pytest.mark.starts
def test_an_environment_has_conda_s_python_and_files_that_know_where_they_are(
    world: CondaWorld, tmp_path: Path
) -> None:
    for name in ("one", "another with ünïcode"):
        root = tmp_path / name
        create(world.order(root), root, Linker())
        conda = root / "opt/conda"
        assert (conda / "etc/lib.conf").read_text() == f"at {conda}\n"
        assert (
            (conda / "lib/libx.so").read_bytes().startswith(b"\0" + str(conda).encode() + b"/x\0")
        )
        assert (root / "bin/python").readlink() == conda / f"bin/python{PYTHON}"
        cfg = (root / "pyvenv.cfg").read_text()
        assert f"home = {conda}/bin\ninclude-system-site-packages = true\n" in cfg
        # The wheel's command starts the Python beside it, which is conda's.
        said = subprocess.run([root / "bin/python", "-c", "print(6 * 7)"], capture_output=True)
        assert said.stdout == b"42\n"
        assert not differences(root, read_files(root)).damaged
        noted = sorted(p.name for p in (conda / "conda-meta").glob("*.json"))
        assert noted == sorted(f"{p.stem}.json" for p in PACKAGES)
    one = tmp_path / "one"
    (one / "opt/conda/etc/lib.conf").unlink()
    damaged = differences(one, read_files(one)).damaged
    assert damaged == ("opt/conda/etc/lib.conf",)
    repair(one, world.order(one), damaged, Linker())
    assert not differences(one, read_files(one)).damaged
    with pytest.raises(UsageError, match="cannot be packed"):
        pack(one, tmp_path / "one.tar.gz")


def test_a_runtime_with_its_own_python_takes_no_other(world: CondaWorld, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has a Python of its own"):
        conda_interpreter(world.lock, "cpu", tmp_path, given=Path("/usr/bin/python3"))


def test_an_image_has_a_layer_of_them(world: CondaWorld) -> None:
    (layer,) = (x for x in world.plan.layers if isinstance(x.content, CondaPackages))
    assert [a.name for a in layer.content.artifacts] == ["lib", "python", "tool"]
    links = {link for x in world.plan.layers for link in getattr(x.content, "links", ())}
    assert ("opt/ml/bin/python", f"/opt/conda/bin/python{PYTHON}") in links

    class Supplies:
        place = image_place(PYTHON)

        def intact(self, artifact):
            return world.registry[artifact.sha256]

    target = io.BytesIO()
    writer = LayerWriter(target)
    layer.content.write(writer, Supplies())
    digest = writer.finish().digest
    with tarfile.open(fileobj=io.BytesIO(target.getvalue()), mode="r:gz") as archive:
        found = archive.extractfile("opt/conda/etc/lib.conf")
        assert found is not None
        assert found.read() == b"at /opt/conda\n"
        assert {(i.uid, i.gid, i.mtime) for i in archive} == {(0, 0, 315532800)}
    again = LayerWriter(io.BytesIO())
    layer.content.write(again, Supplies())
    assert again.finish().digest == digest
    # Another build of one of them makes another layer, and nothing else.
    before = {x.name: x.key for x in world.plan.layers}
    changed = replace(world.conda[2], artifact=replace(world.conda[2].artifact, sha256="0" * 64))
    world.conda[2] = changed
    after = {x.name: x.key for x in world.plan.layers}
    assert {name for name in before if before[name] != after[name]} == {"conda"}


def test_a_stack_without_a_place_for_them_is_refused(world: CondaWorld) -> None:
    with pytest.raises(InvalidDefinition, match=r"no layer has the conda packages of 9\.0-ml"):
        world.planned(WITH_CONDA.replace(CONDA, ""))
