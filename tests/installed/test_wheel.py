"""The wheel, installed into an empty environment and used away from any checkout."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import Distribution
from pathlib import Path

import pytest
import uv

CHECKOUT = Path(__file__).parents[2]

pytestmark = pytest.mark.installs


def ran(*words: str | Path, cwd: Path, code: int = 0, **environ: str) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it requires, in the locked versions."""
    folder = tmp_path_factory.mktemp("installed")
    ran(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=CHECKOUT)
    (wheel,) = folder.glob("*.whl")
    lock = (CHECKOUT / "requirements-dev.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^(\S+==\S+)(?: ; ([^\\\n]*))?", lock, re.MULTILINE)
    constraints = folder / "constraints.txt"
    constraints.write_text(
        "".join(f"{pin} ; {marker}\n" if marker else f"{pin}\n" for pin, marker in pins)
    )
    binary, target = uv.find_uv_bin(), folder / "venv"
    ran(binary, "venv", "--quiet", "--python", sys.executable, target, cwd=folder)
    ran(
        binary, "pip", "install", "--quiet", "--python", target / "bin" / "python",
        "--constraint", constraints, wheel, cwd=folder,
    )  # fmt: skip
    return target


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with no definitions above it, and a home without anything."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    return tmp_path


def test_it_brings_one_package_and_one_command(venv: Path) -> None:
    (site,) = venv.glob("lib/python*/site-packages")
    (info,) = site.glob("mlruntime-*.dist-info")
    files = Distribution.at(info).files or []
    assert {file.parts[0] for file in files if file.parts[0] != ".."} == {"mlruntime", info.name}
    assert [str(file) for file in files if file.parts[0] == ".."] == ["../../../bin/mlruntime"]


def test_the_verbs_work_with_the_definitions_it_brings(venv: Path, elsewhere: Path) -> None:
    cli = venv / "bin" / "mlruntime"
    resolved = json.loads(ran(cli, "resolve", "6.0-ml", "--json", cwd=elsewhere))
    assert resolved["versions"]["spark"].startswith("3.5.")
    assert "Apache Spark goes with" in ran(cli, "matrix", "show", "spark", cwd=elsewhere) + (
        ran(cli, "matrix", "show", "spark", "--markdown", cwd=elsewhere)
    )
    assert "is up to date" in ran(cli, "lock", "6.0-ml", "--check", cwd=elsewhere)
    # Both images are planned: all of images/ is there.
    planned = json.loads(ran(cli, "diff", "6.0-ml", "7.0-ml", "--json", cwd=elsewhere))
    assert planned["layers"]


def test_the_site_has_the_documentation_it_brings(venv: Path, elsewhere: Path) -> None:
    cli = venv / "bin" / "mlruntime"
    told = json.loads(ran(cli, "site", "--output", "public", "--json", cwd=elsewhere))
    assert told["files"] > 100
    pages = {path.stem for path in (elsewhere / "public" / "docs").glob("*.html")}
    assert {path.stem for path in (CHECKOUT / "docs").glob("*.md")} <= pages
    examples = elsewhere / "public" / "docs" / "examples" / "one_machine.py"
    assert examples.read_bytes() == (CHECKOUT / "docs/examples/one_machine.py").read_bytes()


def test_doctor_answers(venv: Path, elsewhere: Path) -> None:
    found = subprocess.run(
        [venv / "bin" / "mlruntime", "doctor", "--json"],
        cwd=elsewhere, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode in (0, 6), found.stderr
    assert json.loads(found.stdout)["findings"]


def test_the_module_is_the_command(venv: Path, elsewhere: Path) -> None:
    python = venv / "bin" / "python"
    said = ran(python, "-m", "mlruntime", "--version", cwd=elsewhere)
    assert said == ran(venv / "bin" / "mlruntime", "--version", cwd=elsewhere)
    assert said.startswith("mlruntime ")
