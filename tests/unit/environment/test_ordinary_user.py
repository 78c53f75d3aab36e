"""Environments of a user who is not root, and whom no passwd file knows."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlruntime.environment.description import read_description, read_files
from mlruntime.environment.verification import differences

from tests.conftest import CHECKOUT
from tests.unit.environment.test_environment import PYTHON, SITE, World

pytestmark = [
    pytest.mark.starts,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]

USER = 61234
# Makes the toys' environment: the folder of its registry, the environment's path, and its store.
MAKE = """
import sys
from pathlib import Path
from mlruntime.errors import MlruntimeError
from mlruntime.store.store import Store
from tests.unit.environment.test_environment import World

world = World(Path(sys.argv[1]))
world.store = Store(Path(sys.argv[3]))
try:
    with world.store.shared():
        world.create(Path(sys.argv[2]))
except MlruntimeError as error:
    sys.exit(str(error))
"""


class Somebody:
    """A user with a home and nothing else, in a folder that all may enter."""

    def __init__(self, top: Path) -> None:
        self.top, self.home = top, top / "home"
        self.home.mkdir()
        os.chown(self.home, USER, USER)
        packages = [path for path in sys.path if path.endswith("site-packages")]
        self.environ = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "builder"), str(CHECKOUT), *packages]),
        }
        candidates = (sys.executable, f"/usr/bin/python{PYTHON}")
        found = (p for p in candidates if self.run(p, "-c", "import mlruntime").returncode == 0)
        self.python = next(found, None)
        if self.python is None:
            pytest.skip(f"no Python {PYTHON} of this host may be run by other users")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        user = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        # setpriv itself can still start what only root may: it loses root's rights by that.
        user += ["sh", "-c", 'exec "$0" "$@"']
        try:
            return subprocess.run(
                ["setpriv", *user, *words], env=self.environ, cwd=self.home, umask=0o077,
                capture_output=True, text=True, timeout=300,
            )  # fmt: skip
        except FileNotFoundError:
            pytest.skip("no setpriv (Debian: util-linux)")

    def make(self, store: Path) -> tuple[Path, str]:
        """Try to make an environment from a store; return its path, and what was said."""
        target = self.home / "ml"
        done = self.run(str(self.python), "-c", MAKE, f"{self.home}/world", str(target), str(store))
        return target, done.stderr


@pytest.fixture
def somebody() -> Iterator[Somebody]:
    top = Path(tempfile.mkdtemp())
    top.chmod(0o755)
    yield Somebody(top)
    shutil.rmtree(top)


def test_a_store_of_ones_own(somebody: Somebody) -> None:
    root, said = somebody.make(somebody.home / "store")
    assert said == ""
    assert {path.lstat().st_uid for path in (root, *root.rglob("*"))} == {USER}
    assert not differences(root, read_files(root)).damaged
    python = str(somebody.python)
    command = "import os, toy; print(toy.answer, os.getuid())"
    done = somebody.run(
        python, "-m", "mlruntime", "env", "run", str(root), "--", "python", "-I", "-c", command
    )
    assert (done.stdout, done.stderr) == (f"42 {USER}\n", "")
    # Whoever wrote there with another umask: the modes are the lock's, not the user's.
    assert (root / "bin" / "toy").stat().st_mode & 0o777 == 0o555
    assert read_description(root).made.keys() <= {"hard link", "reflink"}


def test_a_store_of_root_s_is_told_and_nothing_is_left(somebody: Somebody) -> None:
    """It is warm, and all may read it; whoever uses a store writes there, too."""
    world = World(somebody.top / "world")
    world.create(somebody.top / "first")
    with world.store.shared():
        pass
    root, said = somebody.make(world.store.root)
    assert said.startswith(f"{world.store.root}/locks: cannot write here\n")
    assert "set MLRUNTIME_STORE" in said
    assert not root.exists()
    assert [path.name for path in somebody.home.iterdir()] == ["world"]
    assert (somebody.top / "first" / SITE / "toy.py").exists()
