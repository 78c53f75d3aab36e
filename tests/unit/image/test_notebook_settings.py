"""Who may log in to JupyterLab: the image's own settings, read as Jupyter reads them."""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.conftest import CHECKOUT

FILE = CHECKOUT / "images/rootfs/notebook/opt/ml/etc/jupyter/jupyter_server_config.py"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what reads the file; Jupyter's hash of a password is in the image alone."""
    hashing = ModuleType("jupyter_server.auth")
    hashing.passwd = lambda text: f"hash of {text}"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jupyter_server", ModuleType("jupyter_server"))
    monkeypatch.setitem(sys.modules, "jupyter_server.auth", hashing)

    def read(**given: str) -> tuple[str, str | None]:
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        found = SimpleNamespace(
            IdentityProvider=SimpleNamespace(), PasswordIdentityProvider=SimpleNamespace()
        )
        exec(compile(FILE.read_text(), FILE, "exec"), {"get_config": lambda: found})
        assert not [name for name in os.environ if name.startswith("JUPYTER_")]
        hashed = getattr(found.PasswordIdentityProvider, "hashed_password", None)
        return found.IdentityProvider.token, hashed

    return read


def test_a_token_is_made_where_none_is_given(settings: Any) -> None:
    first, second = settings()[0], settings()[0]
    assert len(first) == len(second) == 48
    assert first != second


def test_a_token_or_a_password_is_taken_out_of_the_environment(
    settings: Any, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("from a file\n")
    assert settings(JUPYTER_TOKEN="mine") == ("mine", None)
    assert settings(JUPYTER_TOKEN_FILE=str(file)) == ("from a file", None)
    assert settings(JUPYTER_PASSWORD="word") == ("", "hash of word")
    assert settings(JUPYTER_PASSWORD_FILE=str(file)) == ("", "hash of from a file")
    assert settings(JUPYTER_PASSWORD="word", JUPYTER_TOKEN="x") == ("x", "hash of word")


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), (b"\n", "is empty"),
                                               (b"\xff", "cannot be read")])  # fmt: skip
def test_a_file_without_a_token_ends_jupyter(
    content: bytes | None, said: str, settings: Any, tmp_path: Path
) -> None:
    """Jupyter goes on after an error in its settings, with a token of its own in its log."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SystemExit, match=f"{file} {said}"):
        settings(JUPYTER_TOKEN_FILE=str(file))
