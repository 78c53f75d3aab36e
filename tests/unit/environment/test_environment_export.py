"""A lock's Python packages in the formats of other installers, read back by these."""

import json
import os
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from mlruntime.definitions.files import Definitions
from mlruntime.environment.contents import contents
from mlruntime.environment.dockerfile import usual_base
from mlruntime.environment.exporting import ExportedPackages, exported, pylock, requirements
from mlruntime.errors import Unavailable, UsageError
from mlruntime.image.plan import left_out
from mlruntime.lock.packages import Artifact
from mlruntime.release.sbom import cyclonedx, packages
from mlruntime.workflows.environment.exports import (
    Export,
    export,
    export_dockerfile,
    lock_to_export,
)
from mlruntime.workflows.environment.known import known_environments
from mlruntime.workflows.environment.managing import Requested
from mlruntime.workflows.planning import planned_image
from packaging.pylock import Pylock
from uv import find_uv_bin

from tests.conftest import CHECKOUT, read_lock
from tests.unit.environment.test_environment import FILES, PYTHON, SITE, World
from tests.unit.lock.test_conda_lock import NUMPY


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


def installed(target: Path, *words: str) -> set[str]:
    """Let uv install into an empty environment, without a network; return what it has then."""
    uv = find_uv_bin()
    environ = {**os.environ, "VIRTUAL_ENV": str(target), "UV_CACHE_DIR": f"{target}-cache"}
    python = ["--python", sys.executable]
    subprocess.run([uv, "venv", "-q", *python, str(target)], env=environ, check=True)
    subprocess.run([uv, "pip", "sync", "-q", "--offline", *words], env=environ, check=True)
    words = ("pip", "freeze", "-q")
    done = subprocess.run([uv, *words], env=environ, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.starts
@pytest.mark.parametrize(("format_", "name"), [("pylock", "pylock.ml.toml"), ("requirements", "r")])
def test_uv_installs_what_is_exported(
    world: World, tmp_path: Path, format_: str, name: str
) -> None:
    folder = tmp_path / "with space"
    file = folder / name
    folder.mkdir()
    wanted = Export(format=format_, output=file, wheels=folder / "the wheels")
    written = export(world.lock, "cpu", world.host, wanted)
    file.write_text(written.text)
    found = installed(tmp_path / "env", str(file))
    assert found == {f"{name}=={version}" for name, version in written.packages}
    assert found == {"nvidia-cudnn==1", "pyspark==1", "toy==1"}


@pytest.mark.starts
def test_pip_takes_the_exported_requirements_and_checks_every_hash(
    world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "with space"
    file = folder / "requirements.txt"
    folder.mkdir()
    wanted = Export(format="requirements", output=file, wheels=folder / "wheels")
    written = export(world.lock, "cpu", world.host, wanted)
    file.write_text(written.text)
    words = ("install", "--dry-run", "--ignore-installed", "--no-deps", "--no-index", "--quiet")
    command = [sys.executable, "-m", "pip", "--isolated", *words, "--require-hashes"]
    command += ["--report", "-", "--requirement", "requirements.txt"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    found = {
        (one["metadata"]["name"].replace("_", "-"), one["download_info"]["archive_info"]["hash"])
        for one in json.loads(done.stdout)["install"]
    }
    assert found == {(wheel.name, f"sha256={wheel.sha256}") for wheel in world.wheels}
    target = folder / "wheels" / world.wheels[0].filename
    content = target.read_bytes()
    target.unlink()
    target.write_bytes(content + b"\0")
    failed = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "DO NOT MATCH THE HASHES" in failed.stderr


@pytest.mark.starts
@pytest.mark.parametrize("format_", ["pylock", "requirements"])
def test_a_wheel_that_is_another_one_is_not_installed(
    world: World, tmp_path: Path, format_: str
) -> None:
    file = tmp_path / ("pylock.toml" if format_ == "pylock" else "requirements.txt")
    wanted = Export(format=format_, output=file, wheels=tmp_path / "wheels")
    file.write_text(export(world.lock, "cpu", world.host, wanted).text)
    target = tmp_path / "wheels" / world.wheels[0].filename
    content = target.read_bytes()
    target.unlink()
    target.write_bytes(content + b"\0")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        installed(tmp_path / "env", str(file))
    assert "sync" in caught.value.cmd


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
@pytest.mark.parametrize("runtime", ["6.0-ml", "7.0-ml"])
def test_the_locks_of_the_checkout_are_whole_and_valid(runtime: str, variant: str) -> None:
    lock, chosen = lock_to_export(Definitions(CHECKOUT), runtime, variant)
    compiled = [
        Artifact(
            kind="wheel",
            name=wheel.name,
            version=wheel.version,
            filename=f"{wheel.name}-{wheel.version}-py3-none-any.whl",
            size=1,
            sha256="0" * 64,
            origin="pypi",
        )
        for wheel in lock.variant(chosen).native
    ]
    what = exported(lock, chosen, python="3.11", compiled=compiled)
    read = Pylock.from_dict(tomllib.loads(pylock(what, "wheels")))
    read.validate()
    assert {p.name for p in read.packages} == {w.name for w in what.wheels}
    assert {"horovod", "pyspark"} <= {p.name for p in read.packages}
    without = exported(lock, chosen, python="3.11")
    assert {w.name for w in without.left_out} == {"horovod", "pyspark"}
    lines = requirements(without).splitlines()
    assert len([x for x in lines if " --hash=sha256:" in x]) == len(what.wheels) - 2


def test_any_name_survives_toml() -> None:
    wheel = Artifact(
        kind="wheel",
        name="toy",
        version="1",
        filename='tö"y\\\x7f\u2028-1-py3-none-any.whl',
        size=3,
        sha256="a" * 64,
        origin="pypi",
    )
    what = ExportedPackages(runtime="9.0-ml", variant="cpu", python="3.11", wheels=(wheel,))
    found = tomllib.loads(pylock(what, "a 'b'/ü"))["packages"][0]["wheels"][0]
    assert found["name"] == wheel.filename
    assert found["path"] == f"a 'b'/ü/{wheel.filename}"


def test_conda_packages_are_told_and_refused_where_they_cannot_be(
    world: World, tmp_path: Path
) -> None:
    lock = replace(world.lock, conda=(NUMPY,))
    written = export(
        lock, "cpu", world.host, Export(format="requirements", output=None, wheels=None)
    )
    told = f"# numpy=={NUMPY.artifact.version} comes from a conda channel."
    assert told in written.text.splitlines()
    assert [name for name, _, _ in written.left_out] == ["numpy"]
    wanted = Export(format="pylock", output=tmp_path / "pylock.toml", wheels=tmp_path / "wheels")
    with pytest.raises(UsageError, match="has conda packages"):
        export(lock, "cpu", world.host, wanted)
    assert not (tmp_path / "wheels").exists()


def test_an_environment_tells_its_own_lock(world: World, tmp_path: Path) -> None:
    world.create(tmp_path / "ml")
    definitions = Definitions(tmp_path)
    lock, variant = lock_to_export(definitions, str(tmp_path / "ml"), None)
    assert (lock.digest, variant) == (world.lock.digest, "cpu")
    with pytest.raises(UsageError, match="this environment is cpu, not gpu"):
        lock_to_export(definitions, str(tmp_path / "ml"), "gpu")
    with pytest.raises(UsageError, match="there is no runtime"):
        lock_to_export(definitions, "nowhere", None)


@pytest.mark.parametrize(
    ("output", "wheels", "what"),
    [
        (None, None, "says where each wheel is"),
        ("pylock.toml", None, "says where each wheel is"),
        ("lock.toml", "wheels", "is not read by installers"),
    ],
)
def test_what_no_installer_could_read_is_refused(
    output: str | None, wheels: str | None, what: str
) -> None:
    wanted = Export(
        format="pylock",
        output=Path(output) if output else None,
        wheels=Path(wheels) if wheels else None,
    )
    with pytest.raises(UsageError, match=what):
        wanted.refuse()


@pytest.mark.parametrize(
    ("format_", "more", "what"),
    [
        ("pylock", {"base": "debian:12"}, "--base is for --format dockerfile"),
        ("cyclonedx", {"wheels": Path("w")}, "needs no wheels"),
        ("dockerfile", {"wheels": Path("w"), "output": Path("Dockerfile")}, "needs no wheels"),
        ("dockerfile", {}, "needs what it adds beside it"),
    ],
)
def test_options_of_another_format_are_refused(
    format_: str, more: dict[str, object], what: str
) -> None:
    with pytest.raises(UsageError, match=what):
        Export(**({"format": format_, "output": None, "wheels": None} | more)).refuse()


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
@pytest.mark.parametrize("runtime", ["6.0-ml", "7.0-ml"])
def test_a_bill_of_materials_is_valid_and_has_what_the_environment_has(
    world: World, tmp_path: Path, runtime: str, variant: str
) -> None:
    lock, _ = lock_to_export(Definitions(CHECKOUT), runtime, variant, "ml")
    wanted = Export(format="cyclonedx", output=None, wheels=None)
    written = export(lock, variant, world.host, wanted)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written.text) is None
    bom = Bom.from_json(json.loads(written.text))
    planned = contents(planned_image(Definitions(CHECKOUT), lock, variant), lock)
    there = (*planned.wheels, *planned.native, *planned.jars, *planned.system)
    assert sorted((c.name, c.version) for c in bom.components) == sorted(
        (one.name, one.version) for one in there
    )
    assert len(written.packages) == len(there)
    # What images leave out of packages is in environments.
    assert left_out(planned_image(Definitions(CHECKOUT), lock, variant).layers)
    assert "left-out" not in written.text
    assert bom.metadata.component.name == f"{runtime}-{variant}-ml"
    assert export(lock, variant, world.host, wanted) == written
    # Its packages say their licences where it is there; a lock alone does not.
    assert "licenses" not in written.text
    metadata = tmp_path / "lib/python3.11/site-packages/numpy-1.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("License-Expression: BSD-3-Clause\n")
    there = json.loads(export(lock, variant, world.host, wanted, tmp_path).text)
    told = {c["name"]: c["licenses"] for c in there["components"] if "licenses" in c}
    assert told == {"numpy": [{"license": {"id": "BSD-3-Clause"}}]}
    image = cyclonedx("x", "sha256:" + "0" * 64, "1", lock, packages(lock, variant, {}, {}))
    assert json.loads(image)["serialNumber"] != json.loads(written.text)["serialNumber"]


def test_a_dockerfile_adds_the_environment_as_it_is_packed(world: World, tmp_path: Path) -> None:
    root, folder = tmp_path / "mine", tmp_path / "with space" / "context"
    made = world.create(root)
    (root / "notes.txt").write_text("my own")
    requested = Requested(lock=world.lock, variant="cpu")
    wanted = Export(
        format="dockerfile", output=folder / "Dockerfile", wheels=None, base="mine/base:1"
    )
    definitions = Definitions(tmp_path)
    written = export_dockerfile(definitions, str(root), requested, world.host, wanted, {})
    lines = written.text.splitlines()
    assert "ARG BASE=mine/base:1" in lines
    assert f"glibc {made.glibc} or newer, libstdc++ and CPython {made.minor};" in written.text
    assert 'ENV VIRTUAL_ENV="/opt/ml" \\' in lines
    assert '    PATH="/opt/ml/bin:' in written.text
    assert dict(written.packages) == world.lock.whole("cpu").distributions
    with tarfile.open(folder / "ml.tar.gz") as archive:
        names = set(archive.getnames())
    assert {"ml/unpack.sh", "ml/notes.txt", f"ml/{SITE}/toy.py"} <= names
    assert [path.name for path in folder.iterdir()] == ["ml.tar.gz"]
    with pytest.raises(UsageError, match="this file exists"):
        export_dockerfile(definitions, str(root), requested, world.host, wanted, {})


@pytest.mark.starts
def test_a_runtime_is_made_an_environment_for_its_dockerfile(world: World, tmp_path: Path) -> None:
    for name, content in FILES.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder = tmp_path / "context"
    wanted = Export(format="dockerfile", output=folder / "Dockerfile", wheels=None)
    requested = Requested(lock=world.lock, variant="cpu", python=Path(sys.executable))
    definitions = Definitions(tmp_path)
    written = export_dockerfile(definitions, "9.0-ml", requested, world.host, wanted, os.environ)
    assert f"ARG BASE=python:{PYTHON}-slim-x" in written.text.splitlines()
    with tarfile.open(folder / "ml.tar.gz") as archive:
        assert f"ml/{SITE}/toy.py" in archive.getnames()
    assert [path.name for path in folder.iterdir()] == ["ml.tar.gz"]
    assert known_environments(world.store) == ()


def test_the_usual_base_has_the_runtime_s_python_on_its_debian(world: World) -> None:
    assert usual_base(read_lock(CHECKOUT)) == "python:3.11-slim-bookworm"
    assert usual_base(read_lock(CHECKOUT, "7.0-ml")) == "python:3.13-slim-trixie"
    assert usual_base(world.lock) == f"python:{PYTHON}-slim-x"


@pytest.mark.parametrize("base", ["two words", "a\nRUN x", "$(x)", "-x"])
def test_a_base_that_names_no_image_is_refused(world: World, tmp_path: Path, base: str) -> None:
    wanted = Export(
        format="dockerfile", output=tmp_path / "out" / "Dockerfile", wheels=None, base=base
    )
    requested = Requested(lock=world.lock, variant="cpu")
    with pytest.raises(UsageError, match="names no image"):
        export_dockerfile(Definitions(tmp_path), "9.0-ml", requested, world.host, wanted, {})
    assert not (tmp_path / "out").exists()


def test_an_environment_with_conda_packages_is_no_dockerfile_s(
    world: World, tmp_path: Path
) -> None:
    lock = replace(world.lock, conda=(NUMPY,))
    wanted = Export(format="dockerfile", output=tmp_path / "Dockerfile", wheels=None)
    with pytest.raises(UsageError, match="has conda packages"):
        export_dockerfile(
            Definitions(tmp_path), "9", Requested(lock=lock, variant="cpu"), world.host, wanted, {}
        )


def test_wheels_that_are_not_compiled_yet_are_told(world: World, tmp_path: Path) -> None:
    lock, _ = lock_to_export(Definitions(CHECKOUT), "6.0-ml", "cpu")
    wanted = Export(format="requirements", output=None, wheels=tmp_path / "wheels")
    with pytest.raises(Unavailable, match="has not been compiled yet"):
        export(lock, "cpu", world.host, wanted)
