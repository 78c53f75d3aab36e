"""Make a Java keystore say nothing about when it was made.

``ca-certificates-java`` writes the system's trust store in the JKS format, each entry stamped with
the time of its making: the one file in which two bootstraps of the same packages differ.
"""

import hashlib
import struct
from collections.abc import Mapping
from typing import Final

from mlruntime.layers.writer import MTIME

_MAGIC: Final = 0xFEEDFEED
_TRUSTED_CERTIFICATE: Final = 2
# The password Java's own trust stores have, and the salt the format prescribes for its digest
# (sun.security.provider.JavaKeyStore).
_PASSWORD: Final = "changeit"
_SALT: Final = b"Mighty Aphrodite"


def normalised(keystore: bytes) -> bytes:
    """Return the same trust store with every entry dated 1980 and sorted by alias.

    Raises ``ValueError`` for anything but a JKS (version 2) of trusted certificates.
    """
    magic, version, count = struct.unpack_from(">III", keystore)
    if magic != _MAGIC or version != 2:
        raise ValueError("not a JKS keystore of version 2")
    entries, offset = [], 12
    for _ in range(count):
        alias, certificate, offset = _entry(keystore, offset)
        entries.append((alias, certificate))
    if offset + 20 != len(keystore):
        raise ValueError("a JKS keystore must end with a SHA-1 digest")
    return _written(entries)


def trust_store(certificates: Mapping[str, bytes]) -> bytes:
    """Return a trust store of certificates (DER) by alias, as ``normalised`` would leave it."""
    entries = []
    for alias, content in certificates.items():
        kind = b"X.509"
        value = struct.pack(">H", len(kind)) + kind + struct.pack(">I", len(content)) + content
        entries.append((alias.encode("ascii", "replace"), value))
    return _written(entries)


def _written(entries: list[tuple[bytes, bytes]]) -> bytes:
    body = struct.pack(">III", _MAGIC, 2, len(entries))
    for alias, certificate in sorted(entries):
        body += struct.pack(">IH", _TRUSTED_CERTIFICATE, len(alias)) + alias
        body += struct.pack(">Q", MTIME * 1000) + certificate
    digest = hashlib.sha1(_PASSWORD.encode("utf-16-be") + _SALT + body, usedforsecurity=False)
    return body + digest.digest()


def _entry(keystore: bytes, offset: int) -> tuple[bytes, bytes, int]:
    tag, length = struct.unpack_from(">IH", keystore, offset)
    if tag != _TRUSTED_CERTIFICATE:
        raise ValueError("a trust store holds trusted certificates only")
    alias = keystore[offset + 6 : offset + 6 + length]
    start = offset + 6 + length + 8
    (kind,) = struct.unpack_from(">H", keystore, start)
    (size,) = struct.unpack_from(">I", keystore, start + 2 + kind)
    end = start + 2 + kind + 4 + size
    return alias, keystore[start:end], end
