"""Signatures: of images as cosign has them, and of statements (DSSE). No cryptography of our own.

Keys are ECDSA P-256, which is what cosign makes and verifies. The libraries are imported late:
they are the extra ``release``.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mlruntime.errors import UsageError, ValidationFailed

STATEMENT_TYPE: Final = "application/vnd.in-toto+json"
ENVELOPE_TYPE: Final = "application/vnd.dsse.envelope.v1+json"
SIMPLE_SIGNING_TYPE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
_COSIGN_TYPE: Final = "cosign container image signature"
_MAKE: Final = (
    "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes-256-cbc -out release.key"
)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that signatures are checked with."""

    _key: Any

    @property
    def pem(self) -> str:
        """Return the key as PEM."""
        return str(self._key.keyval["public"])

    def accepts(self, signature: bytes, payload: bytes) -> bool:
        """Return whether a signature (DER) is this key's, of these bytes."""
        from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
        from securesystemslib.signer import Signature

        try:
            self._key.verify_signature(Signature(self._key.keyid, signature.hex()), payload)
        except (UnverifiedSignatureError, VerificationError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What signs: ``sign`` returns the signature (DER) of some bytes."""

    public: PublicKey
    sign: Callable[[bytes], bytes]


def public_key(pem: bytes, *, file: str) -> PublicKey:
    """Read a public key; ``UsageError`` for anything but ECDSA P-256 as PEM."""
    _libraries()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return _public(load_pem_public_key(pem), file)
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise UsageError(
            "this is no public key that we can read",
            where=file,
            why=str(problem).partition("\n")[0],
            hint=f"`openssl pkey -in release.key -pubout -out release.pub`; the key: `{_MAKE}`",
        ) from None


def private_key(pem: bytes, password: bytes | None, *, file: str) -> SigningKey:
    """Read a private key (PKCS #8 as PEM), encrypted or not.

    ``UsageError`` says which it is: no key, a wrong passphrase, or one that is missing.
    """
    _libraries()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    hint = f"make one: `{_MAKE}`"
    if b"ENCRYPTED" in pem and password is None:
        raise UsageError(
            "the key has a passphrase, and none was given",
            where=file,
            hint="set MLRUNTIME_KEY_PASSWORD, or use --key-password-file",
        )
    if b"SIGSTORE" in pem:
        raise UsageError(
            "this key is in cosign's own encryption, which is not read",
            where=file,
            hint=f"{hint}; cosign takes it, too: `cosign import-key-pair --key release.key`",
        )
    try:
        loaded = load_pem_private_key(pem, password if b"ENCRYPTED" in pem else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        wrong = "ENCRYPTED" in pem.decode("ascii", "replace")
        raise UsageError(
            "the passphrase is wrong, or the key is damaged"
            if wrong
            else "this is no private key that we can read",
            where=file,
            why=str(problem).partition("\n")[0],
            hint=None if wrong else hint,
        ) from None
    public = _public(loaded.public_key(), file)
    signer = CryptoSigner(loaded)
    return SigningKey(public, lambda payload: bytes.fromhex(signer.sign(payload).signature))


def _public(key: Any, file: str) -> PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from securesystemslib.signer import SSlibKey

    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise UsageError("the key is not ECDSA P-256", where=file, hint=f"make one: `{_MAKE}`")
    return PublicKey(SSlibKey.from_crypto(key))


def _libraries() -> None:
    try:
        import securesystemslib  # noqa: F401
    except ImportError:
        raise UsageError(
            "the libraries that sign and verify are not installed",
            hint="pip install 'mlruntime[release]'",
        ) from None


def simple_signing(repository: str, digest: str) -> bytes:
    """Return what cosign signs for an image: its repository and digest."""
    value = {
        "critical": {
            "identity": {"docker-reference": repository},
            "image": {"docker-manifest-digest": digest},
            "type": _COSIGN_TYPE,
        },
        "optional": None,
    }
    return json.dumps(value, separators=(",", ":")).encode()


def signed_digest(payload: bytes) -> str | None:
    """Return the digest of the image that a payload of cosign's is about."""
    try:
        critical = json.loads(payload)["critical"]
        if critical["type"] != _COSIGN_TYPE:
            return None
        return str(critical["image"]["docker-manifest-digest"])
    except (ValueError, KeyError, TypeError):
        return None


def signature_tag(digest: str) -> str:
    """Return the tag under which cosign looks for the signatures of a digest."""
    return digest.replace(":", "-") + ".sig"


def enveloped(statement: bytes, key: SigningKey) -> bytes:
    """Return a statement in a DSSE envelope, signed."""
    from securesystemslib.dsse import Envelope

    bare = Envelope(statement, STATEMENT_TYPE, {})
    value = {
        "payload": base64.b64encode(statement).decode(),
        "payloadType": STATEMENT_TYPE,
        "signatures": [
            {"keyid": "", "sig": base64.b64encode(key.sign(bare.pae())).decode()},
        ],
    }
    return json.dumps(value, separators=(",", ":")).encode()


def opened(envelope: bytes, key: PublicKey | None, *, what: str) -> dict[str, Any]:
    """Return the statement in an envelope; its signature is checked where there is a key.

    Raises ``ValidationFailed``: it is malformed, or the signature is not this key's.
    """
    try:
        value = json.loads(envelope)
        payload = base64.b64decode(value["payload"], validate=True)
        signatures = [base64.b64decode(s["sig"], validate=True) for s in value["signatures"]]
        kind = value["payloadType"]
        statement = json.loads(payload)
        if not isinstance(statement, dict) or kind != STATEMENT_TYPE:
            raise ValueError("no in-toto statement")
    except (ValueError, KeyError, TypeError) as problem:
        raise ValidationFailed(f"{what} is no signed statement", why=str(problem)) from None
    if key is not None:
        from securesystemslib.dsse import Envelope

        signed = Envelope(payload, kind, {}).pae()
        if not any(key.accepts(signature, signed) for signature in signatures):
            raise ValidationFailed(
                f"{what} is not signed with this key",
                why="it was changed after it had been signed, or another key has signed it",
            )
    return statement
