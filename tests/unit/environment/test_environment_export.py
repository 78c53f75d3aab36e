"""A lock's Python packages in the formats of other installers, read back by these."""

import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.definitions.files import Definitions
from mlruntime.environment.exporting import Exported, exported, pylock, requirements
from mlruntime.errors import Unavailable, UsageError
from mlruntime.lock.packages import Artifact
from mlruntime.workflows.exports import Export, export, lock_to_export
from packaging.pylock import Pylock
from uv import find_uv_bin

from tests.conftest import CHECKOUT
from tests.unit.environment.test_environment import World
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
    text, what = export(world.lock, "cpu", world.host, wanted)
    file.write_text(text)
    found = installed(tmp_path / "env", str(file))
    assert found == {f"{w.name}=={w.version}" for w in what.wheels}
    assert found == {"nvidia-cudnn==1", "pyspark==1", "toy==1"}


@pytest.mark.starts
@pytest.mark.parametrize("format_", ["pylock", "requirements"])
def test_a_wheel_that_is_another_one_is_not_installed(
    world: World, tmp_path: Path, format_: str
) -> None:
    file = tmp_path / ("pylock.toml" if format_ == "pylock" else "requirements.txt")
    wanted = Export(format=format_, output=file, wheels=tmp_path / "wheels")
    file.write_text(export(world.lock, "cpu", world.host, wanted)[0])
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
    what = Exported(runtime="9.0-ml", variant="cpu", python="3.11", wheels=(wheel,))
    found = tomllib.loads(pylock(what, "a 'b'/ü"))["packages"][0]["wheels"][0]
    assert found["name"] == wheel.filename
    assert found["path"] == f"a 'b'/ü/{wheel.filename}"


def test_conda_packages_are_told_and_refused_where_they_cannot_be(
    world: World, tmp_path: Path
) -> None:
    lock = replace(world.lock, conda=(NUMPY,))
    text, what = export(
        lock, "cpu", world.host, Export(format="requirements", output=None, wheels=None)
    )
    told = f"# numpy=={NUMPY.artifact.version} comes from a conda channel."
    assert told in text.splitlines()
    assert what.conda == (NUMPY.artifact,)
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


def test_wheels_that_are_not_compiled_yet_are_told(world: World, tmp_path: Path) -> None:
    lock, _ = lock_to_export(Definitions(CHECKOUT), "6.0-ml", "cpu")
    wanted = Export(format="requirements", output=None, wheels=tmp_path / "wheels")
    with pytest.raises(Unavailable, match="has not been compiled yet"):
        export(lock, "cpu", world.host, wanted)
