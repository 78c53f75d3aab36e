"""A toy image, built for real, with everything that a release of it needs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact
from mlruntime.release.attribution import attribute
from mlruntime.release.documents import Candidate
from mlruntime.release.signing import SigningKey, private_key
from mlruntime.release.statements import Built
from mlruntime.release.vulnerabilities import to_json
from mlruntime.store.store import Store
from mlruntime.validation.reading import parse_report

from tests.unit.build import test_build_flow as flow

PASSED = ("spark.submit", "barrier.allgather", "horovodrunner.returns", "tensorflow.matmul")


def key_pem(password: bytes | None = None) -> bytes:
    """Return a new key (ECDSA P-256) as PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def new_key() -> SigningKey:
    return private_key(key_pem(), None, file="release.key")


def lock_of(spark: str = "3.5.9", extra: tuple[Artifact, ...] = ()) -> Lock:
    """Return the toy's lock: what is in its image, and a component."""
    components = (("python", "3.11"), ("spark", spark))
    return replace(
        flow.LOCK,
        inputs=(("request", "sha256:1"),),
        components=components,
        jars=(*flow.LOCK.jars, *extra),
    )


def report_of(
    manifest: str | None,
    lock: Lock,
    *,
    failed: tuple[str, ...] = (),
    not_run: tuple[str, ...] = (),
    workers: int = 2,
    passed: tuple[str, ...] = PASSED,
) -> dict[str, Any]:
    """Return a report as ``validate --report`` writes it."""
    checks = [
        {"name": n, "status": s, "seconds": 1.0, "detail": {}, "error": e}
        for names, s, e in (
            (passed, "passed", None),
            (failed, "failed", "1 is not 2\ntrace"),
            (not_run, "not-run", "no GPU here"),
        )
        for n in names
    ]
    return {
        "format": 1,
        "runtime": lock.runtime,
        "variant": "cpu",
        "image": "sha256:0",
        "manifest": manifest,
        "lock": lock.digest,
        "workers": workers,
        "host": {"kernel": "6.1", "cpus": 2, "memory": 1, "engine": "docker"},
        "time_limits": {"multiplied_by": 1.0, "why": ""},
        "started": "2026-11-27T10:00:00Z",
        "seconds": 60.0,
        "passed": len(passed),
        "failed": len(failed),
        "not_run": len(not_run),
        "checks": checks,
    }


def candidate(store: Path, lock: Lock | None = None, **changed: bytes) -> Candidate:
    """Build the toy into a store and return it, proven; ``changed`` are files of layers."""
    lock = lock or lock_of()
    plan = flow.plan(
        lock,
        "cpu",
        flow.parse_stack(flow.STACK, file="layers.yaml"),
        flow.FILES | {flow.FILE_OF[layer]: content for layer, content in changed.items()},
        tools=flow.Tools(
            unpacking="u", configuring="b", configuring_more="m", bytecode="c", native=lambda _: "n"
        ),
        version="1",
    )
    shop = flow.context(store)
    image = flow.build(plan, lock, shop, reference="toy:1", created=lock.snapshot)
    blobs = Store(store)
    report = json.dumps(report_of(image.manifest.digest, lock))
    return Candidate(
        variant="cpu",
        image=image,
        blobs=blobs,
        lock=lock,
        plan=plan,
        outcome=parse_report(report, file="report.json"),
        report=report,
        built=Built(tool="0.1.0", plan=plan.digest, revision="a" * 40),
        licences=attribute(image, plan, blobs).licences,
        vulnerabilities=to_json((), None),
    )
