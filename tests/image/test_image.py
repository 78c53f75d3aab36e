"""The image itself: reproducible, a proper OCI layout, a proper virtual environment."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from mlruntime.ecosystems.native.inputs import load_recipes
from mlruntime.engine import Engine, Mount
from mlruntime.errors import HashMismatch
from mlruntime.image.layout import read_layout
from mlruntime.store.store import Store
from packaging.requirements import Requirement

from tests.conftest import Runtime, cold_store, mlruntime

pytestmark = pytest.mark.engine

# Runs the verb and then says how much memory its process ever had.
PEAK = """
import resource, sys
from mlruntime.cli import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="session")
def layout(line: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("oci") / "layout"
    mlruntime(line.root, "build", line.name, "--output", str(directory))
    return directory


def inside(engine: Engine, line: Runtime, script: str, *mounts: Mount) -> str:
    result = engine.run(line.image, ["sh", "-c", script], mounts=mounts, timeout=300)
    assert result.exit_code == 0, result.tail
    return result.tail


def test_composing_again_elsewhere_gives_the_same_bytes(
    line: Runtime, store: Store, tmp_path: Path
) -> None:
    """Another store, folder, umask, time zone and number of threads; and little memory."""
    cold = cold_store(store, line.plan, line.lock, store.root / f"cold-{os.getpid()}")
    try:
        done = subprocess.run(
            ["sh", "-c", 'umask 077 && exec "$@"', "sh", "taskset", "-c", "0", sys.executable,
             "-c", PEAK, "--root", str(line.root), "build", line.name, "--json"],
            env=os.environ | {"MLRUNTIME_STORE": str(cold.root), "TZ": "Asia/Kathmandu",
                              "LC_ALL": "C", "TMPDIR": str(tmp_path)},
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        again = json.loads(done.stdout)
        assert not any(layer["cached"] for layer in again["layers"])
        assert {layer["name"]: layer["digest"] for layer in again["layers"]} == {
            layer["name"]: layer["digest"] for layer in line.built["layers"]
        }
        assert again["digest"] == line.built["digest"]
        assert int(done.stderr.strip().splitlines()[-1]) < 512
    finally:
        subprocess.run(["rm", "-rf", str(cold.root)], check=True)


def test_building_and_loading_again_does_nothing(line: Runtime) -> None:
    again = mlruntime(line.root, "build", line.name, "--load")
    assert all(layer["cached"] for layer in again["layers"])
    assert again["sent"] == 0
    assert again["digest"] == line.built["digest"]


def test_source_date_epoch_is_honoured(line: Runtime) -> None:
    one = mlruntime(line.root, "build", line.name, SOURCE_DATE_EPOCH="1700000000")
    two = mlruntime(line.root, "build", line.name, SOURCE_DATE_EPOCH="1700000000")
    assert one["digest"] == two["digest"] != line.built["digest"]
    assert one["layers"][0]["digest"] == line.built["layers"][0]["digest"]


def test_skopeo_accepts_the_layout(layout: Path, line: Runtime) -> None:
    reference = f"oci:{layout}:{line.built['reference']}"
    shown = subprocess.run(["skopeo", "inspect", reference], check=True, capture_output=True)
    found = json.loads(shown.stdout)
    assert found["Digest"] == line.built["digest"]
    assert found["Labels"]["io.mlruntime.lock.digest"] == line.lock.digest


def test_umoci_unpacks_the_layout(layout: Path, line: Runtime, tmp_path: Path) -> None:
    image = f"{layout}:{line.built['reference']}"
    subprocess.run(["umoci", "unpack", "--rootless", "--image", image, str(tmp_path / "b")],
                   check=True, capture_output=True)  # fmt: skip
    link = tmp_path / "b" / "rootfs" / "opt" / "spark"
    assert os.readlink(link).endswith("site-packages/pyspark")  # noqa: PTH115


def test_a_layout_reads_back_and_one_flipped_bit_is_noticed(layout: Path, tmp_path: Path) -> None:
    image = read_layout(layout)
    assert [layer.name for layer in image.layers[:2]] == ["interpreter", "os"]
    damaged = tmp_path / "damaged"
    subprocess.run(["cp", "-r", str(layout), str(damaged)], check=True)
    victim = next(layer for layer in image.layers if layer.name == "horovod")
    path = damaged / "blobs" / "sha256" / victim.blob.digest[7:]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(HashMismatch, match="layer 'horovod' is damaged"):
        read_layout(damaged)


def test_the_environment_is_proper(engine: Engine, line: Runtime) -> None:
    said = inside(
        engine,
        line,
        "id -u; pip check; which python spark-submit spark-class tini;"
        " python -c 'import sys; print(sys.prefix != sys.base_prefix, sys.prefix)'",
    ).splitlines()
    assert said == [
        "1000",
        "No broken requirements found.",
        "/opt/ml/bin/python",
        "/opt/ml/bin/spark-submit",
        "/opt/ml/bin/spark-class",
        "/usr/bin/tini",
        "True /opt/ml",
    ]


def test_every_locked_package_is_listed_and_recorded(engine: Engine, line: Runtime) -> None:
    said = inside(
        engine,
        line,
        "python - <<'E'\n"
        "import importlib.metadata as m, os\n"
        "found = list(m.distributions())\n"
        "missing = [str(f) for d in found for f in d.files if not os.path.exists(f.locate())]\n"
        "print(len(found), missing)\nE",
    )
    own = line.lock.variant("cpu")
    packages = len(line.lock.python) + len(own.python) + len(own.native) + len(own.dummy_packages)
    assert said == f"{packages + 1} []"  # and sparkdl


def test_bytecode_is_there_and_used(engine: Engine, line: Runtime) -> None:
    said = inside(
        engine,
        line,
        "python -v -c 'import numpy' 2>&1 | grep -c 'matches .*site-packages/numpy';"
        " python -v -c 'import numpy' 2>&1 | grep -c 'wrote ' || true",
    ).splitlines()
    assert int(said[0]) > 50
    assert said[1] == "0"


def test_pip_installs_on_top_as_the_image_user(
    engine: Engine, line: Runtime, tmp_path: Path
) -> None:
    name = "toy_on_top-1.0-py3-none-any.whl"
    with zipfile.ZipFile(tmp_path / name, "w") as wheel:
        wheel.writestr("toy_on_top.py", "answer = 42\n")
        wheel.writestr("toy_on_top-1.0.dist-info/METADATA",
                       "Metadata-Version: 2.1\nName: toy-on-top\nVersion: 1.0\n")  # fmt: skip
        wheel.writestr(
            "toy_on_top-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("toy_on_top-1.0.dist-info/RECORD", "")
    tmp_path.chmod(0o755)
    said = inside(
        engine,
        line,
        f"pip install -q --no-index /w/{name} && python -c 'import toy_on_top as t;"
        " print(t.answer, t.__file__)' && pip uninstall -q -y six && ! python -c 'import six'",
        Mount(source=str(tmp_path), target="/w", kind="bind", read_only=True),
    )
    assert f"42 /opt/ml/lib/python{line.python}/site-packages/toy_on_top.py" in said


def test_labels_name_what_is_inside(engine: Engine, line: Runtime) -> None:
    labels = engine.image_config(line.image).labels
    omitted = {o.component for o in line.lock.omitted}
    for name, version in line.lock.components:
        expected = None if name in omitted else version
        assert labels.get(f"io.mlruntime.component.{name}") == expected
    assert labels["io.mlruntime.runtime"] == line.name


def test_debian_is_exactly_what_is_locked(engine: Engine, line: Runtime) -> None:
    said: list[str] = []
    engine.run(
        line.image,
        ["dpkg-query", "-W", "-f", "${Package} ${Version}\\n"],
        on_line=said.append,
        timeout=60,
    )
    assert sorted(said) == sorted(f"{a.name} {a.version}" for a in line.lock.os)


def test_what_the_wheels_built_here_require_is_what_their_recipes_say(
    engine: Engine, line: Runtime
) -> None:
    """The lock was resolved by the recipe's word, before there was a wheel."""
    recipes = load_recipes(line.root / "images")
    for wheel in line.lock.variant("cpu").native:
        said = inside(
            engine,
            line,
            "python -c 'import importlib.metadata as m, json;"
            f' print(json.dumps(m.requires("{wheel.name}")))\'',
        )
        found = {str(r) for r in map(Requirement, json.loads(said) or ()) if not of_an_extra(r)}
        told = recipes[wheel.name].recipe.requires(wheel.sdist.version)
        assert found == {str(Requirement(text)) for text in told}, wheel.name


def of_an_extra(requirement: Requirement) -> bool:
    return requirement.marker is not None and "extra" in str(requirement.marker)
