"""What is in an image or an environment, as CycloneDX 1.6 and SPDX 2.3. Core: values in, text out.

Equal images give equal bytes: identifiers are made of the image's digest, and the time is that of
the lock's snapshot. The libraries are imported late: they are the extra ``release``.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mlruntime.ecosystems.registered import ecosystem_of
from mlruntime.lock.model import Lock, tag
from mlruntime.lock.packages import Artifact
from mlruntime.release.inside import NOTHING_INSIDE, Inside
from mlruntime.release.licences import expression
from mlruntime.release.statements import in_image, purl

# A namespace of our own for identifiers that follow from a digest (RFC 4122, 4.3).
_NAMESPACE: Final = uuid.UUID("6f1d9a0e-3a52-5c1b-9a3e-2f4a6b1f7c11")


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A package of an image; ``sha256`` is that of the file it came in, where there is one.

    ``left_out`` says which of its files the image does not have, and why; ``bundled_in`` is the
    file of another package that it is in.
    """

    name: str
    version: str
    purl: str
    sha256: str | None
    licences: tuple[str, ...] = ()
    built_from: str | None = None
    left_out: str | None = None
    bundled_in: str | None = None


def packages(
    lock: Lock,
    variant: str,
    licences: Mapping[str, tuple[str, ...]],
    left_out: Mapping[str, str],
    *,
    has: Callable[[Artifact], bool] = lambda _: True,
    inside: Inside = NOTHING_INSIDE,
) -> tuple[Package, ...]:
    """Return every package of an image, what is compiled here and our own library included.

    Last are the projects in jars that packages bring, as PySpark brings those of Spark.

    ``licences`` are by owner, as ``attribute`` names them, ``left_out`` by name, as the plan does;
    an environment ``has`` not all of an image's files.
    """
    bundled = (
        Package(
            name=one.name,
            version=one.version,
            purl=one.purl,
            sha256=None,
            bundled_in=one.file,
        )
        for one in inside.beside(in_image(lock, variant)).bundled
    )
    return (*_packages(lock, variant, licences, left_out, has), *bundled)


def _packages(
    lock: Lock,
    variant: str,
    licences: Mapping[str, tuple[str, ...]],
    left_out: Mapping[str, str],
    has: Callable[[Artifact], bool],
) -> Iterator[Package]:
    versions, whole = lock.all_components, lock.whole(variant)
    wheels = frozenset(whole.python)
    for artifact in filter(has, in_image(lock, variant)):
        yield Package(
            name=artifact.name,
            version=artifact.version,
            purl=purl(artifact, versions),
            sha256=artifact.sha256,
            licences=licences.get(_owner(artifact), ()),
            left_out=left_out.get(artifact.name) if artifact in wheels else None,
        )
    for wheel in whole.native:
        yield Package(
            name=wheel.name,
            version=wheel.version,
            purl=purl(wheel.released, versions),
            sha256=None,
            licences=licences.get(_owner(wheel.released), ()),
            built_from=f"{wheel.sdist.filename}, sha256:{wheel.sdist.sha256}",
        )


def _owner(artifact: Artifact) -> str:
    return ecosystem_of(artifact).owner(artifact.name)


def cyclonedx(name: str, digest: str, version: str, lock: Lock, found: tuple[Package, ...]) -> str:
    """Return the CycloneDX document of an image, as JSON."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    top = Component(
        name=name,
        version=version,
        type=ComponentType.CONTAINER,
        bom_ref=digest,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest.partition(":")[2])],
    )
    return _cyclonedx(top, digest, lock, found)


def cyclonedx_of_environment(lock: Lock, variant: str, found: tuple[Package, ...]) -> str:
    """Return the CycloneDX document of an environment, which its lock and variant identify."""
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType

    name = f"{lock.runtime}-{tag(variant, lock.flavour)}"
    top = Component(
        name=name,
        version=lock.digest.partition(":")[2][:12],
        type=ComponentType.PLATFORM,
        bom_ref=f"{name}@{lock.digest}",
        properties=[Property(name="mlruntime:lock", value=lock.digest)],
    )
    return _cyclonedx(top, f"environment {name} {lock.digest}", lock, found)


def _cyclonedx(top: Any, identity: str, lock: Lock, found: tuple[Package, ...]) -> str:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, identity))
    bom.metadata.timestamp = datetime.fromisoformat(lock.snapshot)
    bom.metadata.component = top
    parts = []
    for package in found:
        made = Component(
            name=package.name,
            version=package.version,
            type=ComponentType.LIBRARY,
            bom_ref=package.purl,
            purl=PackageURL.from_string(package.purl),
        )
        if package.sha256:
            made.hashes.add(HashType(alg=HashAlgorithm.SHA_256, content=package.sha256))
        made.licenses.update(_cyclonedx_licences(package.licences))
        if package.built_from:
            made.properties.add(Property(name="mlruntime:built-from", value=package.built_from))
        if package.left_out:
            made.properties.add(Property(name="mlruntime:left-out", value=package.left_out))
        if package.bundled_in:
            made.properties.add(Property(name="mlruntime:bundled-in", value=package.bundled_in))
        parts.append(made)
        bom.components.add(made)
    bom.register_dependency(top, parts)
    return str(JsonV1Dot6(bom).output_as_string(indent=1)) + "\n"


def _cyclonedx_licences(licences: tuple[str, ...]) -> Iterator[Any]:
    """Yield one expression; or each by identifier or name, where SPDX does not have them all."""
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
    from cyclonedx.spdx import is_supported_id

    whole = expression(licences)
    if whole is not None and not is_supported_id(whole):
        yield LicenseExpression(whole)
        return
    for licence in licences:
        if is_supported_id(licence):
            yield DisjunctiveLicense(id=licence)
        else:
            yield DisjunctiveLicense(name=licence)


def spdx(name: str, digest: str, version: str, lock: Lock, found: tuple[Package, ...]) -> str:
    """Return the SPDX document, as JSON, which SPDX's own library has validated."""
    import json

    from spdx_tools.common.spdx_licensing import (  # type: ignore[import-untyped]
        spdx_licensing,
    )
    from spdx_tools.spdx.jsonschema.document_converter import DocumentConverter
    from spdx_tools.spdx.model import (
        Actor,
        ActorType,
        Checksum,
        ChecksumAlgorithm,
        CreationInfo,
        Document,
        ExternalPackageRef,
        ExternalPackageRefCategory,
        Relationship,
        RelationshipType,
        SpdxNoAssertion,
    )
    from spdx_tools.spdx.model import Package as SpdxPackage
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    none = SpdxNoAssertion()

    def described(
        ident: str,
        called: str,
        at: str,
        sha256: str | None,
        declared: str | None = None,
        **more: Any,
    ) -> SpdxPackage:
        return SpdxPackage(
            spdx_id=ident,
            name=called,
            version=at,
            download_location=none,
            files_analyzed=False,
            license_concluded=none,
            license_declared=spdx_licensing.parse(declared) if declared else none,
            copyright_text=none,
            checksums=[Checksum(ChecksumAlgorithm.SHA256, sha256)] if sha256 else [],
            **more,
        )

    top = described("SPDXRef-image", name, version, digest.partition(":")[2])
    parts = [
        described(
            _ident(p.purl),
            p.name,
            p.version,
            p.sha256,
            expression(p.licences),
            external_references=[
                ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", p.purl)
            ],
            license_comment=None if expression(p.licences) else "; ".join(p.licences) or None,
            source_info=p.built_from or (f"bundled in {p.bundled_in}" if p.bundled_in else None),
            comment=f"left out: {p.left_out}" if p.left_out else None,
        )
        for p in found
    ]
    info = CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id="SPDXRef-DOCUMENT",
        name=f"{name} {version}",
        document_namespace=f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'spdx {digest}')}",
        creators=[Actor(ActorType.TOOL, "mlruntime")],
        created=datetime.fromisoformat(lock.snapshot).replace(tzinfo=None),
    )
    links = [Relationship("SPDXRef-DOCUMENT", RelationshipType.DESCRIBES, "SPDXRef-image")]
    links += [Relationship("SPDXRef-image", RelationshipType.CONTAINS, p.spdx_id) for p in parts]
    document = Document(creation_info=info, packages=[top, *parts], relationships=links)
    if wrong := validate_full_spdx_document(document):
        raise ValueError(f"our SPDX document is not valid: {wrong[0].validation_message}")
    value = DocumentConverter().convert(document)  # type: ignore[no-untyped-call]
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _ident(text: str) -> str:
    """Return an SPDX identifier: letters, digits, dots and hyphens alone."""
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]+", "-", text.removeprefix("pkg:"))
