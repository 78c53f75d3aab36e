"""The questions that are asked about an image; each returns what it found, or raises why not."""

import json
from collections import Counter
from datetime import date
from typing import Any, Final

from mlruntime.errors import MlruntimeError, ValidationFailed
from mlruntime.image.config import LABEL
from mlruntime.lock.document import parse_lock
from mlruntime.registry.uploads import Blob
from mlruntime.release import documents as names
from mlruntime.release import statements, vex
from mlruntime.release.channels import misnamed
from mlruntime.release.examined import ExaminedImage
from mlruntime.release.signing import opened
from mlruntime.validation.reading import parse_report

# Checks that need several nodes are of these families.
_ON_A_CLUSTER: Final = ("spark", "barrier", "horovodrunner")


def ask_layers(image: ExaminedImage) -> str:
    """Return its digest and how many layers it has, each of them there."""
    top = image.manifest.parsed()
    config = json.loads(image.source.document(str(top["config"]["digest"])))
    layers = top["layers"]
    if len(config["rootfs"]["diff_ids"]) != len(layers):
        raise ValidationFailed("manifest and configuration disagree on the number of layers")
    for layer in layers:
        image.source.check_blob(str(layer["digest"]), int(layer["size"]))
    return f"{image.digest}, {len(layers)} layers"


def ask_signature(image: ExaminedImage) -> str:
    """Return that it is signed with the key."""
    image.must_be_signed()
    return "signed with this key" if image.key else "a signature is there"


def ask_release(image: ExaminedImage) -> str:
    """Return which version it was released as; the names that it was found under fit.

    An image may be of several versions, and a version may have been stated anew: of the statements
    that fit the tag, the newest counts.
    """
    image.found = image.attached()
    wrong: MlruntimeError | None = None
    said = []
    for envelope in image.found.get(names.RELEASE, []):
        try:
            said.append(
                image.about(
                    opened(envelope, image.key, what=names.RELEASE), statements.RELEASE_TYPE
                )
            )
        except MlruntimeError as error:
            wrong = error
    if not said:
        raise wrong or ValidationFailed(
            f"{names.RELEASE} is missing: this was never released, or it was removed"
        )
    said.sort(key=statements.age, reverse=True)
    of_tag = [s for s in said if misnamed(image.tag, image.entry, s["predicate"]) is None]
    image.statement = (of_tag or said)[0]
    predicate = image.statement["predicate"]
    if problem := misnamed(image.tag, image.entry, predicate):
        raise problem
    support = (predicate.get("lifecycle") or {}).get("end-of-support")
    told = f"{predicate['version']}, {predicate['variant']}"
    return told + (f", supported until {support}" if support else "")


def ask_documents(image: ExaminedImage) -> str:
    """Return how many documents it was released with, each there to the byte."""
    listed = image.listed()
    for name in listed:
        image.bytes_of(name)
    return f"{len(listed)}, each the one that was released"


def ask_lock(image: ExaminedImage) -> str:
    """Return the digest of its lock, which the image was built from."""
    text = image.bytes_of(names.LOCK).decode("utf-8")
    digest = Blob.of(text.encode()).digest
    labels = image.labels()
    if labels.get(f"{LABEL}.lock.digest") != digest:
        raise ValidationFailed(
            "the lock is not the one that the image was built from",
            why=f"the image's label says {labels.get(f'{LABEL}.lock.digest')}, it is {digest}",
        )
    image.lock = parse_lock(text, file=names.LOCK)
    return digest


def ask_provenance(image: ExaminedImage) -> str:
    """Return how many files it was made from: all those of the lock."""
    envelope = image.bytes_of(names.PROVENANCE)
    said = opened(envelope, image.key, what=names.PROVENANCE)
    image.about(said, statements.PROVENANCE_TYPE)
    lock, variant = image.locked()
    dependencies = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    there = {d["digest"].get("sha256") for d in dependencies}
    wanted = {a.sha256 for a in statements.materials(lock, variant)}
    if missing := wanted - there:
        raise ValidationFailed(f"it leaves out {len(missing)} artifacts of the lock")
    return f"{len(wanted)} materials, each of them in the lock"


def ask_from_commit(image: ExaminedImage) -> str:
    """Return the git commit of the definitions that it was made from."""
    said = opened(image.bytes_of(names.PROVENANCE), image.key, what=names.PROVENANCE)
    image.about(said, statements.PROVENANCE_TYPE)
    dependencies = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    for one in dependencies:
        if commit := one["digest"].get("gitCommit"):
            return str(commit)
    raise ValidationFailed(
        "the provenance names no git commit",
        why="its definitions were in no repository, or had changes that were not committed",
    )


def ask_sbom(image: ExaminedImage) -> str:
    """Return how many packages its SBOM has: all those of the lock."""
    bom = json.loads(image.bytes_of(names.SBOM))
    lock, variant = image.locked()
    there = {h["content"] for c in bom["components"] for h in c.get("hashes", ())}
    wanted = {a.sha256 for a in statements.in_image(lock, variant)}
    if missing := wanted - there:
        raise ValidationFailed(f"it leaves out {len(missing)} packages of the lock")
    if bom["metadata"]["component"]["bom-ref"] != image.digest:
        raise ValidationFailed("it is about another image")
    return f"{len(bom['components'])} packages"


def ask_test_result(image: ExaminedImage) -> str:
    """Return what passed, as the report of its validation says."""
    said = opened(image.bytes_of(names.TEST_RESULT), image.key, what=names.TEST_RESULT)
    image.about(said, statements.TEST_RESULT_TYPE)
    report = parse_report(image.bytes_of(names.REPORT).decode("utf-8"), file=names.REPORT)
    if report.manifest != image.digest:
        raise ValidationFailed("the report is of another image", why=str(report.manifest))
    predicate = said["predicate"]
    if sorted(report.passed) != list(predicate.get("passedTests", ())) or report.failed:
        raise ValidationFailed("the test result does not say what the report says")
    unrun = f", {len(report.not_run)} not run" if report.not_run else ""
    return f"{len(report.passed)} checks passed{unrun}"


def ask_vex(image: ExaminedImage) -> str:
    """Return which vulnerabilities it was released with: its VEX says of each what release did."""
    accepted = (image.statement or {}).get("predicate", {}).get("accepted", [])
    if names.VEX not in image.listed():
        if accepted:
            raise ValidationFailed(f"vulnerabilities were accepted, and there is no {names.VEX}")
        return "no known vulnerability was accepted"
    said = opened(image.bytes_of(names.VEX), image.key, what=names.VEX)
    image.about(said, vex.PREDICATE)
    told = said["predicate"]["statements"]
    wanted = sorted((a["id"], a["status"], a["justification"] or "") for a in accepted)
    if sorted(map(_vex_statement, told)) != wanted:
        raise ValidationFailed("it does not say what the release has accepted")
    of_it = {"sha-256": image.digest.partition(":")[2]}
    if any(product["hashes"] != of_it for one in told for product in one["products"]):
        raise ValidationFailed("it is about another image")
    counted = Counter(str(one["status"]).replace("_", " ") for one in told)
    listed = ", ".join(f"{count} {status}" for status, count in sorted(counted.items()))
    return f"{listed}; to be reviewed by {min(a['until'] for a in accepted)}"


def _vex_statement(said: dict[str, Any]) -> tuple[str, str, str]:
    return said["vulnerability"]["name"], said["status"], said.get("justification", "")


def ask_cluster_tested(image: ExaminedImage) -> str:
    """Return on how many workers it was tested."""
    report = parse_report(image.bytes_of(names.REPORT).decode("utf-8"), file=names.REPORT)
    families = {name.partition(".")[0] for name in report.passed}
    missing = [family for family in _ON_A_CLUSTER if family not in families]
    if report.workers < 2 or missing:
        raise ValidationFailed(
            "it was not tested on a cluster",
            why=f"{report.workers} workers; nothing passed of: {', '.join(missing) or '-'}",
        )
    return f"on {report.workers} workers"


def ask_supported(image: ExaminedImage, today: date) -> str:
    """Return until when it is supported; the last days of what was accepted have not passed."""
    predicate = image.predicate
    support = (predicate.get("lifecycle") or {}).get("end-of-support")
    if support and today > date.fromisoformat(support):
        raise ValidationFailed(f"its support has ended on {support}")
    # One vulnerability may be accepted twice, for different packages.
    days = [(a["id"], date.fromisoformat(a["until"])) for a in predicate.get("accepted", ())]
    late = sorted(f"{name} until {day}" for name, day in days if today > day)
    if late:
        raise ValidationFailed(
            "vulnerabilities were accepted for a time that has passed", why=", ".join(late)
        )
    ends = [date.fromisoformat(support)] if support else []
    until = min([*(day for _, day in days), *ends], default=None)
    return f"until {until}" if until else "no last day was set"
