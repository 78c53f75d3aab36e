"""Keys that sign releases, in files and behind commands."""

import stat
from pathlib import Path

import pytest
from mlruntime.errors import (
    UsageError,
)
from mlruntime.release.signing import private_key, public_key
from mlruntime.workflows.signing import key_of_command, key_of_file

from tests.unit.toys import key_pem


def test_keys_that_cannot_be_used_are_told_apart(tmp_path: Path) -> None:
    secret = key_pem(b"pass phrase")
    with pytest.raises(UsageError, match="none was given"):
        private_key(secret, None, file="k")
    with pytest.raises(UsageError, match="passphrase is wrong"):
        private_key(secret, b"other", file="k")
    with pytest.raises(UsageError, match="no private key"):
        private_key(b"-----BEGIN", None, file="k")
    with pytest.raises(UsageError, match="no public key"):
        public_key(b"x", file="k")
    path = tmp_path / "k"
    path.write_bytes(secret)
    (tmp_path / "p").write_text("pass phrase\n")
    assert key_of_file(path, tmp_path / "p", None, {}).sign(b"x")
    environ = {"MLRUNTIME_KEY_PASSWORD": "pass phrase"}
    assert key_of_file(path, None, None, environ).sign(b"x")
    assert environ == {}, "tools that are run later would get it"
    environ = {"MLRUNTIME_KEY_PASSWORD": "unused"}
    assert key_of_file(path, tmp_path / "p", None, environ).sign(b"x") and environ == {}


@pytest.mark.starts
def test_a_command_may_sign_and_is_checked(tmp_path: Path) -> None:
    key = key_of_file(_written(tmp_path / "k", key_pem()), None, "true", {})
    (tmp_path / "k.pub").write_text(key.public.pem)
    tool = tmp_path / "kms"
    tool.write_text(
        f"#!/bin/sh\nbase64 -d >'{tmp_path}/m'\n"
        f"openssl dgst -sha256 -sign '{tmp_path}/k' '{tmp_path}/m' | base64 -w0\n"
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    signing = key_of_command(str(tool), tmp_path / "k.pub")
    assert key.public.accepts(signing.sign(b"payload"), b"payload")
    with pytest.raises(UsageError, match="no signature of this key"):
        key_of_command("echo AAAA", tmp_path / "k.pub").sign(b"payload")


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
