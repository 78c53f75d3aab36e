"""Where the key that signs a release is from: a file with a passphrase, or a command (a KMS)."""

import base64
import binascii
import shlex
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from mlruntime.definitions.files import read_bytes
from mlruntime.errors import UsageError
from mlruntime.host.command import run
from mlruntime.release.signing import PublicKey, SigningKey, private_key, public_key

_PASSWORD: Final = "MLRUNTIME_KEY_PASSWORD"
_SECONDS: Final = 120


def key_of_file(
    path: Path,
    password_file: Path | None,
    password_command: str | None,
    environ: MutableMapping[str, str],
) -> SigningKey:
    """Return the key in a file; its passphrase is never on a command line.

    It is from ``password_file``, else what ``password_command`` prints, else
    ``MLRUNTIME_KEY_PASSWORD`` of ``environ``, which loses it: no tool that is run later gets it.
    """
    given = environ.pop(_PASSWORD, None)
    password: str | None
    if password_file is not None:
        password = read_bytes(password_file, str(password_file), UsageError).decode()
    elif password_command is not None:
        password = run(shlex.split(password_command), timeout=_SECONDS)
    else:
        password = given
    secret = password.rstrip("\r\n").encode() if password is not None else None
    return private_key(read_bytes(path, str(path), UsageError), secret, file=str(path))


def key_of_command(command: str, public: Path) -> SigningKey:
    """Return a key that somebody else keeps.

    ``command`` gets what is to be signed on its stdin, in Base64, and prints the signature (ECDSA
    P-256 over SHA-256, DER) in Base64. What it prints is checked with the public key.
    """
    known = verifying_key(public)

    def sign(payload: bytes) -> bytes:
        said = run(shlex.split(command), stdin=base64.b64encode(payload).decode(), timeout=_SECONDS)
        try:
            signature = base64.b64decode(said.strip(), validate=True)
        except binascii.Error:
            signature = b""
        if not known.accepts(signature, payload):
            raise UsageError(
                "the command that signs gave no signature of this key",
                where=shlex.split(command)[0],
                why=f"{public} does not accept it",
            )
        return signature

    return SigningKey(known, sign)


def verifying_key(path: Path) -> PublicKey:
    """Return the public key in a file."""
    return public_key(read_bytes(path, str(path), UsageError), file=str(path))
