"""In-toto statements about an image: who made it from what, how it was tested, what was released.

Core: values in, bytes out. Nothing in them depends on when they are made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlruntime.definitions.lifecycle import Lifecycle
from mlruntime.documents.reading import canonical_json
from mlruntime.ecosystems.registered import ecosystem_of
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact, NativeWheel
from mlruntime.release.policy import Allowed
from mlruntime.release.versions import parse_version
from mlruntime.validation.reading import ReportSummary

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PROVENANCE_TYPE: Final = "https://slsa.dev/provenance/v1"
TEST_RESULT_TYPE: Final = "https://in-toto.io/attestation/test-result/v0.1"
# Ours: which documents belong to a release, so that none can be taken away or changed unseen.
RELEASE_TYPE: Final = "urn:mlruntime:release:v1"
BUILD_TYPE: Final = "urn:mlruntime:build:v1"
BUILDER: Final = "urn:mlruntime:builder"


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """How an image was made: by which version of this tool, from which plan and definitions.

    ``revision`` is the git commit of the definitions, where they are in a repository.
    """

    tool: str
    plan: str
    revision: str | None = None


def purl(artifact: Artifact, versions: Mapping[str, str]) -> str:
    """Return an artifact's package URL; ``versions`` are those of a lock's components."""
    return ecosystem_of(artifact).purl(artifact, versions).to_string()


def in_image(lock: Lock, variant: str) -> tuple[Artifact, ...]:
    """Return the locked artifacts whose files are in a variant's image, sorted."""
    return tuple(
        sorted(set(lock.whole(variant).artifacts), key=lambda a: (a.kind, a.name, a.version))
    )


def materials(lock: Lock, variant: str) -> tuple[Artifact, ...]:
    """Return everything that an image is made from, what native wheels need included, sorted."""
    found = {*in_image(lock, variant)}
    native = lock.whole(variant).native
    for wheel in native:
        found |= {wheel.sdist, *wheel.link_against, *wheel.requirements}
        found |= {*wheel.build_depends_unpacked}
    if native:
        found |= {*lock.build_depends}
    return tuple(sorted(found, key=lambda a: (a.kind, a.name, a.version)))


def statement(name: str, digest: str, kind: str, predicate: Mapping[str, Any]) -> bytes:
    """Return a statement about one digest, in-toto's own library having checked its form."""
    from in_toto_attestation.v1.resource_descriptor import (
        ResourceDescriptor,
    )
    from in_toto_attestation.v1.statement import Statement

    digests = {"sha256": digest.partition(":")[2]}
    subject = ResourceDescriptor(name=name, digest=digests)
    Statement([subject.pb], kind, dict(predicate)).validate()
    value = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": digests}],
        "predicateType": kind,
        "predicate": predicate,
    }
    return canonical_json(value).encode()


def provenance(name: str, digest: str, lock: Lock, variant: str, built: Built) -> bytes:
    """Return SLSA's provenance: every artifact of the lock is a resolved dependency."""
    versions = lock.all_components
    dependencies: list[dict[str, Any]] = [
        {"uri": purl(a, versions), "name": a.filename, "digest": {"sha256": a.sha256}}
        for a in materials(lock, variant)
    ]
    if built.revision:
        dependencies.append({"name": "definitions", "digest": {"gitCommit": built.revision}})
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "runtime": lock.runtime,
                "variant": variant,
                "flavour": lock.flavour,
            },
            "internalParameters": {
                "lock": lock.digest,
                "plan": built.plan,
                "native": [_native(wheel) for wheel in lock.whole(variant).native],
            },
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"mlruntime": built.tool}},
            "metadata": {"invocationId": built.plan},
        },
    }
    _fits("provenance", predicate)
    return statement(name, digest, PROVENANCE_TYPE, predicate)


def _native(wheel: NativeWheel) -> dict[str, str]:
    return {"name": wheel.name, "version": wheel.version, "recipe": f"sha256:{wheel.key}"}


def test_result(name: str, digest: str, outcome: ReportSummary, report: str) -> bytes:
    """Return the outcome of a validation; ``report`` is the digest of the whole report.

    What was not run, and allowed not to be, is in ``warnedTests``: it never counts as passed.
    """
    predicate = {
        "result": "WARNED" if outcome.not_run else "PASSED",
        "configuration": [
            {"name": "validation-report.json", "digest": {"sha256": report.partition(":")[2]}},
            {"name": "lock.json", "digest": {"sha256": outcome.lock.partition(":")[2]}},
        ],
        "passedTests": sorted(outcome.passed),
        "warnedTests": sorted(name for name, _ in outcome.not_run),
        "failedTests": sorted(name for name, _ in outcome.failed),
    }
    _fits("test_result", predicate)
    return statement(name, digest, TEST_RESULT_TYPE, predicate)


def released(
    name: str,
    digest: str,
    *,
    runtime: str,
    version: str,
    variant: str,
    lock: str,
    outcome: ReportSummary,
    allowed: Iterable[Allowed],
    documents: Mapping[str, tuple[str, str]],
    lifecycle: Lifecycle | None = None,
    accepted: Iterable[Mapping[str, Any]] = (),
    revision: int = 1,
) -> bytes:
    """Return what a release is: ``documents`` are (artifact type, digest) by name.

    ``accepted`` are the known vulnerabilities that it was released with; ``revision`` counts the
    statements of this version about this image.
    """
    predicate: dict[str, Any] = {
        "runtime": runtime,
        "version": version,
        "variant": variant,
        "lock": lock,
        "validated": {
            "started": outcome.started,
            "workers": outcome.workers,
            "passed": len(outcome.passed),
            "notRun": [{"check": n, "why": w.partition("\n")[0]} for n, w in outcome.not_run],
            "allowed": [{"check": a.check, "why": a.why} for a in allowed],
        },
        "accepted": list(accepted),
        "documents": [
            {"name": n, "artifactType": kind, "digest": sha256}
            for n, (kind, sha256) in sorted(documents.items())
        ],
    }
    if lifecycle is not None:
        predicate["lifecycle"] = lifecycle.to_dict()
    if revision > 1:
        predicate["revision"] = revision
    return statement(name, digest, RELEASE_TYPE, predicate)


def age(release: Mapping[str, Any]) -> tuple[int, int]:
    """Return what compares as release statements follow each other: version, then revision."""
    said = release["predicate"]
    version = parse_version(str(said["runtime"]), str(said["version"]))
    return version.patch, int(said.get("revision", 1))


def _fits(kind: str, predicate: Mapping[str, Any]) -> None:
    """Raise when a predicate is not what its specification has, by in-toto's own messages."""
    from google.protobuf.json_format import ParseDict

    if kind == "provenance":
        from in_toto_attestation.predicates.provenance.v1 import (
            provenance_pb2 as pb,
        )

        ParseDict(dict(predicate), pb.Provenance())
        return
    from in_toto_attestation.predicates.test_result.v0 import (
        test_result_pb2,
    )

    ParseDict(dict(predicate), test_result_pb2.TestResult())
