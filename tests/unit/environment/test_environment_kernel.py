"""An environment as a kernel of Jupyter: found where Jupyter looks, with its own variables."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from mlruntime.environment.kernel import default_name, install_kernel, kernels
from mlruntime.errors import UsageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An environment with a quote, a space and a dollar in its path, and just enough in it."""
    root = tmp_path / "it's $HOME 机器"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "activate").write_text("export OF_THE_ENVIRONMENT=yes\n")
    python = root / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$OF_THE_ENVIRONMENT" "$$" "$@"\n')
    python.chmod(0o755)
    site = root / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (site / "ipykernel_launcher.py").touch()
    return root


def test_where_jupyter_looks() -> None:
    home = Path("/home/me")
    assert kernels({}, home) == home / ".local/share/jupyter/kernels"
    assert kernels({"XDG_DATA_HOME": "/d"}, home) == Path("/d/jupyter/kernels")
    both = {"XDG_DATA_HOME": "/d", "JUPYTER_DATA_DIR": "/j"}
    assert kernels(both, home) == Path("/j/kernels")


@pytest.mark.parametrize(
    ("folder", "name"),
    [("ml", "mlruntime-ml"), ("My ml 2", "mlruntime-my-ml-2"), ("机器", "mlruntime-env")],
)
def test_names(folder: str, name: str) -> None:
    assert default_name(Path("/srv") / folder) == name


@pytest.mark.starts
def test_the_kernel_starts_in_the_environment_and_in_the_same_process(
    root: Path, tmp_path: Path
) -> None:
    written = install_kernel(root, "6.0-ml", "ml", tmp_path / "kernels")
    assert written == tmp_path / "kernels" / "ml" / "kernel.json"
    spec = json.loads(written.read_text(encoding="utf-8"))
    assert spec["language"] == "python" and spec["display_name"] == "6.0-ml"
    # As jupyter_client fills it in.
    argv = [word.replace("{connection_file}", "/run/c 1.json") for word in spec["argv"]]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as child:
        said = child.communicate()[0]
    assert said == f"yes {child.pid} -m ipykernel_launcher -f /run/c 1.json\n"


def test_a_kernel_is_replaced_by_its_own_environment_only(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    install_kernel(root, "one", "ml", folder)
    written = install_kernel(root, "two", "ml", folder)
    assert json.loads(written.read_text(encoding="utf-8"))["display_name"] == "two"
    assert [path.name for path in written.parent.iterdir()] == ["kernel.json"]
    for other in ('{"argv": ["python"]}', "no JSON", "[]"):
        written.write_text(other)
        with pytest.raises(UsageError, match="another kernel called ml"):
            install_kernel(root, "three", "ml", folder)
        assert written.read_text() == other


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "é"])
def test_names_that_jupyter_would_not_take(root: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a kernel's name"):
        install_kernel(root, "one", name, tmp_path)


def test_an_environment_without_ipykernel(root: Path, tmp_path: Path) -> None:
    next(root.glob("lib/*/*/ipykernel_launcher.py")).unlink()
    with pytest.raises(UsageError, match="no ipykernel"):
        install_kernel(root, "one", "ml", tmp_path / "kernels")
    assert not (tmp_path / "kernels").exists()
