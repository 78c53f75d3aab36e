"""What packages write while they are configured: secrets are refused, with who makes them."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from mlruntime.build.secrets import refuse_secrets
from mlruntime.ecosystems.debian.packages import read_package
from mlruntime.errors import InvalidDefinition

from tests.unit.debs import deb

BODY = b"MIIEvQIBADANBgkqhkiG9w0BAQEF\n"
KEY = b"-----BEGIN %bPRIVATE KEY-----\n" + BODY


def changes(folder: Path, files: Mapping[str, tuple[int, bytes]]) -> Path:
    """Return an archive of files, each with its mode."""
    path = folder / "changes.tar"
    with tarfile.open(path, mode="w") as tar:
        for name, (mode, content) in files.items():
            info = tarfile.TarInfo(name)
            info.mode, info.size = mode, len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


ORDINARY = {
    "etc/shadow": (0o640, b"root:*:3652::::::"),
    "etc/.pwd.lock": (0o600, b""),
    "etc/ssl/certs/ca.pem": (0o644, b"-----BEGIN CERTIFICATE-----"),
    "etc/toy/secret.conf": (0o600, b"brought by the package"),
    "usr/bin/ssh-agent": (0o2755, b"\x7fELF\0-----BEGIN OPENSSH PRIVATE KEY-----\n\0%s: \0"),
    "var/cache/ldconfig/aux-cache": (0o600, b"is left out"),
}


@pytest.mark.parametrize(
    ("path", "mode", "content"),
    [
        ("etc/ssh/ssh_host_rsa_key", 0o600, KEY % b"OPENSSH "),
        ("etc/ssl/private/snakeoil.pem", 0o640, KEY % b""),
        ("etc/ssl/private/snakeoil.pem", 0o640, b"cert\n" + KEY % b"RSA "),
        (
            "etc/toy/locked.pem",
            0o644,
            b"-----BEGIN RSA PRIVATE KEY-----\r\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: x\r\n\r\n"
            + BODY,
        ),
        ("etc/bind/rndc.key", 0o640, b"key rndc { secret 1; };"),
        ("etc/munge/cookie", 0o400, b"\0\1\2"),
    ],
)
def test_a_secret_is_refused_with_the_package_that_makes_it(
    path: str, mode: int, content: bytes, tmp_path: Path
) -> None:
    script = f"#!/bin/sh\n# makes keys\nmake-it /{path}\n".encode()
    control = {"postinst": script, "conffiles": b"/etc/toy/secret.conf\n"}
    toys = (
        deb(tmp_path, "toy", control=control),
        deb(tmp_path, "other", control={"postinst": b"#!/bin/sh\ntrue\n"}),
    )
    packages = [read_package(*toy) for toy in toys]
    refuse_secrets(changes(tmp_path, ORDINARY), packages)
    with pytest.raises(InvalidDefinition) as caught:
        refuse_secrets(changes(tmp_path, {**ORDINARY, path: (mode, content)}), packages)
    assert str(caught.value).splitlines()[0] == (
        f"runtime.yaml: debian: toy: configuring it makes secrets: /{path}"
    )


def test_a_package_is_found_by_the_folder_it_makes_keys_in(tmp_path: Path) -> None:
    script = b"#!/bin/sh\nchmod 710 /etc/ssl/private\nmake-ssl-cert\n"
    package = read_package(*deb(tmp_path, "ssl-cert", control={"postinst": script}))
    made = changes(tmp_path, {"etc/ssl/private/snake.key": (0o640, KEY % b"")})
    with pytest.raises(InvalidDefinition, match=r"ssl-cert: configuring it makes secrets"):
        refuse_secrets(made, [package])
    with pytest.raises(InvalidDefinition, match=r"a Debian package: configuring it makes"):
        refuse_secrets(made, [])
