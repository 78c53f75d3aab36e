"""A certificate authority for one node, and what every part shows of itself."""

import datetime
import ipaddress
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.kubernetes.addresses import API_ADDRESS, NODE, NODE_ADDRESS

_DAY: Final = datetime.timedelta(days=1)
_SERVICE: Final = "kubernetes.default.svc.cluster.local"
_SERVICE_NAMES: Final = tuple(".".join(_SERVICE.split(".")[:n]) for n in (1, 2, 3, 5))
# Name: organization, common name, and the names of a server.
_PARTS: Final[dict[str, tuple[str | None, str, tuple[str, ...]]]] = {
    "apiserver": (None, "kube-apiserver",
                  (*_SERVICE_NAMES, "localhost", API_ADDRESS, NODE_ADDRESS, "127.0.0.1")),
    "kubelet-server": (None, NODE, (NODE, NODE_ADDRESS)),
    "admin": ("system:masters", "admin", ()),
    "apiserver-kubelet": ("system:masters", "kube-apiserver-kubelet", ()),
    "kubelet": ("system:nodes", f"system:node:{NODE}", ()),
    "kcm": (None, "system:kube-controller-manager", ()),
    "scheduler": (None, "system:kube-scheduler", ()),
}  # fmt: skip
USERS: Final = ("admin", "kubelet", "kcm", "scheduler")


def write(folder: Path) -> None:
    """Write ``ca.crt``, and a key and a certificate for each part; ``sa.key`` signs tokens."""
    folder.mkdir(mode=0o700)
    root = ec.generate_private_key(ec.SECP256R1())
    name = _name(None, "mlruntime tests")
    authority = (
        _certificate(name, name, root)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(root, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(_pem(authority))
    for part, (organization, common, names) in _PARTS.items():
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(_name(organization, common), name, key).add_extension(
            _usage(signs=False), critical=True
        )
        use = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        made = made.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        if names:
            made = made.add_extension(
                x509.SubjectAlternativeName([_general(one) for one in names]), critical=False
            )
        _write_key(folder / f"{part}.key", key)
        (folder / f"{part}.crt").write_bytes(_pem(made.sign(root, hashes.SHA256())))
    signer = ec.generate_private_key(ec.SECP256R1())
    _write_key(folder / "sa.key", signer)
    (folder / "sa.pub").write_bytes(
        signer.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 2 * _DAY)
    )


def _name(organization: str | None, common: str) -> x509.Name:
    named = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organization is not None:
        named.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(named)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.touch(0o600)
    path.write_bytes(text)
