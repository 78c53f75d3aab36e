"""Every document of a released image, by name: SBOM, provenance, test result, lock, notes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mlruntime.definitions.lifecycle import Lifecycle
from mlruntime.image.image import Blobs, Image
from mlruntime.image.plan import Plan, left_out
from mlruntime.lock.model import Lock, tag
from mlruntime.registry.referrers import Attachment
from mlruntime.registry.uploads import Blob
from mlruntime.release import licences, sbom, statements, vex
from mlruntime.release.inside import NOTHING_INSIDE, Inside
from mlruntime.release.policy import Allowed
from mlruntime.release.signing import ENVELOPE_TYPE
from mlruntime.release.vex import Excepted
from mlruntime.validation.reading import ReportSummary

SBOM: Final = "sbom.cdx.json"
SBOM_SPDX: Final = "sbom.spdx.json"
REPORT: Final = "validation-report.json"
LOCK: Final = "lock.json"
NOTES: Final = "release-notes.md"
LICENCES: Final = "licences.md"
VULNERABILITIES: Final = "vulnerabilities.json"
CONTRACT: Final = "host-contract.json"
EVIDENCE: Final = "evidence.json"
PROVENANCE: Final = "provenance.intoto.json"
TEST_RESULT: Final = "test-result.intoto.json"
VEX: Final = "vex.intoto.json"
RELEASE: Final = "release.intoto.json"
TYPES: Final[Mapping[str, str]] = {
    SBOM: "application/vnd.cyclonedx+json",
    SBOM_SPDX: "application/spdx+json",
    REPORT: "application/vnd.mlruntime.report.v1+json",
    LOCK: "application/vnd.mlruntime.lock.v2+json",
    NOTES: "text/markdown",
    LICENCES: "text/markdown",
    VULNERABILITIES: "application/vnd.mlruntime.vulnerabilities.v1+json",
    CONTRACT: "application/vnd.mlruntime.host-contract.v1+json",
    EVIDENCE: "application/vnd.mlruntime.evidence.v1+json",
    PROVENANCE: ENVELOPE_TYPE,
    TEST_RESULT: ENVELOPE_TYPE,
    VEX: ENVELOPE_TYPE,
    RELEASE: ENVELOPE_TYPE,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An image that may be released: its bytes, what made it, and the report of its validation.

    ``licences`` are those of its packages, and ``inside`` is what else they say, as ``attribute``
    found them. ``vulnerabilities`` is the document that says what is known, or that nobody has
    looked. ``lifecycle`` are the runtime's dates of support, where its definition has some.
    ``excepted`` are the vulnerabilities that it is released with, which ``author`` answers for.
    ``evidence`` are the rules that its versions were chosen by.
    """

    variant: str
    image: Image
    blobs: Blobs
    lock: Lock
    plan: Plan
    outcome: ReportSummary
    report: str
    built: statements.Built
    licences: Mapping[str, tuple[str, ...]]
    vulnerabilities: str
    inside: Inside = NOTHING_INSIDE
    allowed: tuple[Allowed, ...] = ()
    lifecycle: Lifecycle | None = None
    excepted: tuple[Excepted, ...] = ()
    author: str | None = None
    evidence: str | None = None

    @property
    def digest(self) -> str:
        """Return the digest of the image's manifest."""
        return self.image.manifest.digest

    @property
    def tag(self) -> str:
        """Return what the image is called among those of its version: ``cpu``, ``cpu-notebook``."""
        return tag(self.variant, self.lock.flavour)

    @property
    def name(self) -> str:
        """Return what documents call the image."""
        return f"{self.lock.runtime}-{self.tag}"


def attachment(name: str, content: bytes) -> Attachment:
    """Return a document as it is attached."""
    return Attachment(name=name, artifact_type=TYPES[name], content=content)


def plain_documents(made: Candidate, version: str, notes: str) -> tuple[Attachment, ...]:
    """Return the documents that are not signed by themselves."""
    left = left_out(made.plan.layers)
    found = sbom.packages(made.lock, made.variant, made.licences, left, inside=made.inside)
    about = (made.name, made.digest, version, made.lock, found)
    texts = {
        SBOM: sbom.cyclonedx(*about),
        SBOM_SPDX: sbom.spdx(*about),
        REPORT: made.report,
        LOCK: made.lock.to_json(),
        NOTES: notes,
        LICENCES: licences.table(
            f"{version}, {made.tag}", ((p.name, p.version, p.licences) for p in found)
        ),
        VULNERABILITIES: made.vulnerabilities,
    }
    if contract := made.lock.variant(made.variant).contract:
        texts[CONTRACT] = contract.to_json()
    if made.evidence:
        texts[EVIDENCE] = made.evidence
    return tuple(attachment(n, text.encode()) for n, text in texts.items())


def statements_of(made: Candidate, repository: str) -> dict[str, bytes]:
    """Return the statements that are to be signed, by name, but for the release's own.

    ``repository`` is where the image will be: scanners look for it by that name.
    """
    report = Blob.of(made.report.encode()).digest
    found = {
        PROVENANCE: statements.provenance(
            made.name, made.digest, made.lock, made.variant, made.built
        ),
        TEST_RESULT: statements.test_result(made.name, made.digest, made.outcome, report),
    }
    if made.excepted:
        found[VEX] = vex.attested(
            repository,
            made.digest,
            made.excepted,
            author=made.author,
            at=made.outcome.started,
            tool=made.built.tool,
        )
    return found


def release_statement(
    made: Candidate, version: str, documents: tuple[Attachment, ...], *, revision: int = 1
) -> bytes:
    """Return the statement that says which documents, to the byte, belong to a release."""
    listed = {d.name: (d.artifact_type, d.blob.digest) for d in documents}
    return statements.released(
        made.name,
        made.digest,
        runtime=made.lock.runtime,
        version=version,
        variant=made.tag,
        lock=made.lock.digest,
        outcome=made.outcome,
        allowed=made.allowed,
        documents=listed,
        lifecycle=made.lifecycle,
        accepted=[one.to_dict() for one in made.excepted],
        revision=revision,
    )
