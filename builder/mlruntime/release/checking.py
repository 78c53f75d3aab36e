"""Is this image what was released? Each question on its own, with the reason for every no."""

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from mlruntime.documents.oci import Document
from mlruntime.errors import MlruntimeError, ValidationFailed
from mlruntime.image.config import LABEL
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
from mlruntime.registry.client import Blob
from mlruntime.release import documents as names
from mlruntime.release import statements, vex
from mlruntime.release.signing import (
    SIGNATURE_ANNOTATION,
    PublicKey,
    opened,
    signature_tag,
    signed_digest,
)
from mlruntime.validation.reading import parse_report

Status = Literal["passed", "failed", "not-run"]
CLUSTER_TESTED: Final = "cluster-tested"
# Checks that need several nodes are of these families.
_ON_A_CLUSTER: Final = ("spark", "barrier", "horovodrunner")
_SIGNED: Final = ("signature", "release", "provenance", "test-result", "vex")


class Source(Protocol):
    """Where a release is read from: a registry, or an OCI layout."""

    def manifest(self, reference: str) -> Document | None:
        """Return the manifest of a tag or digest."""

    def document(self, digest: str) -> bytes:
        """Return a small blob, checked by its digest."""

    def referrers(self, digest: str) -> list[dict[str, Any]]:
        """Return the descriptors of what refers to a digest."""

    def check_blob(self, digest: str, size: int) -> None:
        """Raise unless a blob is there, its bytes being what its digest says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answer to one question; ``told`` is what was found, or why it is not so."""

    name: str
    status: Status
    told: str


@dataclass(slots=True)
class _Image:
    """What is known of the image so far."""

    source: Source
    manifest: Document
    key: PublicKey | None
    tag: str | None
    statement: dict[str, Any] | None = None
    found: dict[str, list[bytes]] | None = None
    lock: Lock | None = None

    @property
    def digest(self) -> str:
        return self.manifest.digest

    def listed(self) -> dict[str, str]:
        """Return the digests of the documents that the release's statement lists, by name."""
        if self.statement is None:
            raise ValidationFailed("there is no release statement to hold it to")
        entries = self.statement["predicate"]["documents"]
        return {str(e["name"]): str(e["digest"]) for e in entries}

    def bytes_of(self, name: str) -> bytes:
        """Return a document of the release, to the byte the one that was released."""
        wanted = self.listed().get(name)
        if wanted is None:
            raise ValidationFailed(f"the release has no {name}")
        there = (self.found or {}).get(name, [])
        for content in there:
            if Blob.of(content).digest == wanted:
                return content
        raise ValidationFailed(
            f"{name} is another one than was released"
            if there
            else f"{name} is missing: it was released with the image, and somebody has removed it"
        )


def check(
    source: Source,
    manifest: Document,
    *,
    key: PublicKey | None,
    tag: str | None = None,
    require: tuple[str, ...] = (),
) -> tuple[Answer, ...]:
    """Ask everything about one image. ``tag`` is the one that it was found under, if any.

    Without a key nothing that is signed counts as passed: it is ``not-run``.
    """
    image = _Image(source=source, manifest=manifest, key=key, tag=tag)
    questions: list[tuple[str, Callable[[_Image], str]]] = [
        ("image", _bytes),
        ("signature", _signature),
        ("release", _release),
        ("documents", _documents),
        ("lock", _lock),
        ("provenance", _provenance),
        ("sbom", _sbom),
        ("test-result", _test_result),
        ("vex", _vex),
    ]
    if CLUSTER_TESTED in require:
        questions.append((CLUSTER_TESTED, _cluster_tested))
    return tuple(_answers(image, questions))


def _answers(
    image: _Image, questions: list[tuple[str, Callable[[_Image], str]]]
) -> Iterator[Answer]:
    for name, question in questions:
        try:
            told = question(image)
        except MlruntimeError as error:
            why = error.what + (f" ({error.why})" if error.why else "")
            yield Answer(name=name, status="failed", told=why)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            yield Answer(name=name, status="failed", told=f"malformed: {problem!r}"[:200])
        else:
            if name in _SIGNED and image.key is None:
                yield Answer(name=name, status="not-run", told=f"no --key was given; {told}")
            else:
                yield Answer(name=name, status="passed", told=told)


def _bytes(image: _Image) -> str:
    top = image.manifest.parsed()
    config = json.loads(image.source.document(str(top["config"]["digest"])))
    layers = top["layers"]
    if len(config["rootfs"]["diff_ids"]) != len(layers):
        raise ValidationFailed("manifest and configuration disagree on the number of layers")
    for layer in layers:
        image.source.check_blob(str(layer["digest"]), int(layer["size"]))
    return f"{image.digest}, {len(layers)} layers"


def _signature(image: _Image) -> str:
    found = image.source.manifest(signature_tag(image.digest))
    if found is None:
        raise ValidationFailed(
            "the image is not signed", why=f"there is no signature of {image.digest}"
        )
    others = 0
    for layer in found.parsed()["layers"]:
        payload = image.source.document(str(layer["digest"]))
        if signed_digest(payload) != image.digest:
            continue
        others += 1
        signature = base64.b64decode(layer["annotations"][SIGNATURE_ANNOTATION])
        if image.key is None or image.key.accepts(signature, payload):
            return "signed with this key" if image.key else "a signature is there"
    raise ValidationFailed(
        "it is signed with another key" if others else "the signature is of another image"
    )


def _release(image: _Image) -> str:
    image.found = _attached(image)
    wrong: MlruntimeError | None = None
    for envelope in image.found.get(names.RELEASE, []):
        try:
            said = _about(
                opened(envelope, image.key, what=names.RELEASE), image, statements.RELEASE
            )
        except MlruntimeError as error:
            wrong = error
            continue
        image.statement = said
        predicate = said["predicate"]
        version, variant = str(predicate["version"]), str(predicate["variant"])
        _tag_fits(image.tag, version, variant)
        support = (predicate.get("lifecycle") or {}).get("end-of-support")
        return f"{version}, {variant}" + (f", supported until {support}" if support else "")
    raise wrong or ValidationFailed(
        f"{names.RELEASE} is missing: this was never released, or it was removed"
    )


def _tag_fits(tag: str | None, version: str, variant: str) -> None:
    """Raise when a version's tag is on an image of another version."""
    begin = version.rpartition(".")[0] + "."
    if tag is None or not tag.startswith(begin):
        return  # a channel's tag, or none
    if tag not in (version, f"{version}-{variant}"):
        raise ValidationFailed(
            f"the tag {tag} is on {version}, {variant}",
            why="a version's tag never moves: somebody has moved it",
        )


def _attached(image: _Image) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for entry in image.source.referrers(image.digest):
        manifest = image.source.manifest(str(entry.get("digest")))
        if manifest is None:
            continue
        for layer in manifest.parsed().get("layers", ()):
            name = str((layer.get("annotations") or {}).get("org.opencontainers.image.title", ""))
            if name in names.TYPES:
                found.setdefault(name, []).append(image.source.document(str(layer["digest"])))
    return found


def _about(statement: dict[str, Any], image: _Image, kind: str) -> dict[str, Any]:
    if statement.get("predicateType") != kind:
        raise ValidationFailed(f"expected a statement of the kind {kind}")
    subjects = [f"sha256:{s['digest']['sha256']}" for s in statement["subject"]]
    if image.digest not in subjects:
        raise ValidationFailed("the statement is about another image", why=", ".join(subjects))
    return statement


def _documents(image: _Image) -> str:
    listed = image.listed()
    for name in listed:
        image.bytes_of(name)
    return f"{len(listed)}, each the one that was released"


def _lock(image: _Image) -> str:
    text = image.bytes_of(names.LOCK).decode("utf-8")
    digest = Blob.of(text.encode()).digest
    labels = _labels(image)
    if labels.get(f"{LABEL}.lock.digest") != digest:
        raise ValidationFailed(
            "the lock is not the one that the image was built from",
            why=f"the image's label says {labels.get(f'{LABEL}.lock.digest')}, it is {digest}",
        )
    image.lock = parse_lock(text, file=names.LOCK)
    return digest


def _labels(image: _Image) -> dict[str, str]:
    config = json.loads(image.source.document(str(image.manifest.parsed()["config"]["digest"])))
    return dict(config["config"].get("Labels") or {})


def _locked(image: _Image) -> tuple[Lock, str]:
    if image.lock is None:
        raise ValidationFailed("there is no lock to compare it with")
    return image.lock, _labels(image)[f"{LABEL}.variant"]


def _provenance(image: _Image) -> str:
    envelope = image.bytes_of(names.PROVENANCE)
    said = opened(envelope, image.key, what=names.PROVENANCE)
    _about(said, image, statements.PROVENANCE)
    lock, variant = _locked(image)
    dependencies = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    there = {d["digest"].get("sha256") for d in dependencies}
    wanted = {a.sha256 for a in statements.materials(lock, variant)}
    if missing := wanted - there:
        raise ValidationFailed(f"it leaves out {len(missing)} artifacts of the lock")
    return f"{len(wanted)} materials, each of them in the lock"


def _sbom(image: _Image) -> str:
    bom = json.loads(image.bytes_of(names.SBOM))
    lock, variant = _locked(image)
    there = {h["content"] for c in bom["components"] for h in c.get("hashes", ())}
    wanted = {a.sha256 for a in statements.in_image(lock, variant)}
    if missing := wanted - there:
        raise ValidationFailed(f"it leaves out {len(missing)} packages of the lock")
    if bom["metadata"]["component"]["bom-ref"] != image.digest:
        raise ValidationFailed("it is about another image")
    return f"{len(bom['components'])} packages"


def _test_result(image: _Image) -> str:
    said = opened(image.bytes_of(names.TEST_RESULT), image.key, what=names.TEST_RESULT)
    _about(said, image, statements.TEST_RESULT)
    report = parse_report(image.bytes_of(names.REPORT).decode("utf-8"), file=names.REPORT)
    if report.manifest != image.digest:
        raise ValidationFailed("the report is of another image", why=str(report.manifest))
    predicate = said["predicate"]
    if sorted(report.passed) != list(predicate.get("passedTests", ())) or report.failed:
        raise ValidationFailed("the test result does not say what the report says")
    unrun = f", {len(report.not_run)} not run" if report.not_run else ""
    return f"{len(report.passed)} checks passed{unrun}"


def _vex(image: _Image) -> str:
    """Return which vulnerabilities it was released with: its VEX says of each what release did."""
    accepted = (image.statement or {}).get("predicate", {}).get("accepted", [])
    if names.VEX not in image.listed():
        if accepted:
            raise ValidationFailed(f"vulnerabilities were accepted, and there is no {names.VEX}")
        return "no known vulnerability was accepted"
    said = opened(image.bytes_of(names.VEX), image.key, what=names.VEX)
    _about(said, image, vex.PREDICATE)
    told = said["predicate"]["statements"]
    wanted = sorted((a["id"], a["status"], a["justification"] or "") for a in accepted)
    if sorted(map(_vex_statement, told)) != wanted:
        raise ValidationFailed("it does not say what the release has accepted")
    of_it = {"sha-256": image.digest.partition(":")[2]}
    if any(product["hashes"] != of_it for one in told for product in one["products"]):
        raise ValidationFailed("it is about another image")
    counted = Counter(str(one["status"]).replace("_", " ") for one in told)
    listed = ", ".join(f"{count} {status}" for status, count in sorted(counted.items()))
    return f"{listed}; to be looked at again by {min(a['until'] for a in accepted)}"


def _vex_statement(said: dict[str, Any]) -> tuple[str, str, str]:
    return said["vulnerability"]["name"], said["status"], said.get("justification", "")


def _cluster_tested(image: _Image) -> str:
    report = parse_report(image.bytes_of(names.REPORT).decode("utf-8"), file=names.REPORT)
    families = {name.partition(".")[0] for name in report.passed}
    missing = [family for family in _ON_A_CLUSTER if family not in families]
    if report.workers < 2 or missing:
        raise ValidationFailed(
            "it was not tested on a cluster",
            why=f"{report.workers} workers; nothing passed of: {', '.join(missing) or '-'}",
        )
    return f"on {report.workers} workers"
