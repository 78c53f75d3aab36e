"""``env shell``: whatever the startup files of a shell do, the environment's Python comes first."""

import os
import pty
import shutil
import sys
from pathlib import Path

import pytest

from tests.unit.environment.test_environment import World

# What conda, pyenv and others have people put there.
STARTUP = 'export PATH="$HOME/other:$PATH"\nexport SEEN=yes\n'
FILES = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}


def said_in(shell: str, root: Path, environ: dict[str, str], commands: str) -> str:
    """Return what a shell on a terminal says to commands."""
    child, terminal = pty.fork()
    if child == 0:
        words = [sys.executable, "-m", "mlruntime", "env", "shell", str(root)]
        os.execve(sys.executable, words, environ | {"SHELL": shell, "TERM": "dumb"})
    os.write(terminal, commands.encode())
    said = b""
    while True:
        try:
            said += os.read(terminal, 65536)
        except OSError:  # it has ended
            break
    assert os.waitpid(child, 0)[1] == 0, said.decode()
    os.close(terminal)
    return said.decode().replace("\r", "")


@pytest.mark.starts
@pytest.mark.parametrize("name", sorted(FILES))
def test_startup_files_have_their_say_but_not_the_last(tmp_path: Path, name: str) -> None:
    shell = shutil.which(name)
    if shell is None:
        pytest.skip(f"{name} is not installed")
    world = World(tmp_path / "world")
    root, home = tmp_path / "it's mine", tmp_path / "home"
    world.create(root)
    other = home / "other" / "python"
    other.parent.mkdir(parents=True)
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    startup = home / FILES[name]
    startup.parent.mkdir(parents=True, exist_ok=True)
    startup.write_text(STARTUP)
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": ""}
    environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    out = tmp_path / "out"
    commands = (
        f'echo "$SEEN" >{out}; command -v python >>{out}; env | grep -c ^PYTHONPATH= >>{out}; '
        f"deactivate; command -v python >>{out}; exit 0\n"
    )
    shown = said_in(shell, root, environ, commands)
    assert out.read_text().splitlines() == ["yes", f"{root}/bin/python", "0", str(other)], shown
    assert not list(home.glob("mlruntime-zsh-*"))
