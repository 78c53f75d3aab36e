"""What tests of releases share: a toy's release, what verify answers, and how it is damaged."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from mlruntime.fetch.web import Web
from mlruntime.registry.client import Repository
from mlruntime.registry.names import parse_name
from mlruntime.release.checking import Answer, check
from mlruntime.release.documents import Candidate
from mlruntime.release.signing import SigningKey
from mlruntime.release.sources import RegistrySource
from mlruntime.workflows.release.publishing import publish

from tests.unit.registries import Registry, sha256
from tests.unit.registry.test_registry import sources

NOW = "2026-11-27T12:00:00Z"
TODAY = date(2026, 11, 27)
PATH = "team/ml"
STEPS = ("image cpu", "index", "documents cpu", "signature cpu", "verified", "record", "tags")


@contextmanager
def opened(registry: Registry, path: str = PATH) -> Iterator[Repository]:
    with Web(sources(), pauses=(0.0,), sleep=lambda _: None) as web:
        yield Repository(web, parse_name(f"{registry.address}/{path}"), lambda _: None)


def release(
    registry: Registry,
    made: Candidate,
    key: SigningKey,
    scratch: Path,
    after: Callable[[str], None] = lambda _: None,
) -> str:
    scratch.mkdir(exist_ok=True)
    with opened(registry) as there:
        found = publish(
            there, (made,), key, now=NOW, scratch=scratch, say=lambda _: None, after=after
        )
    return found.version.text


def answers(
    registry: Registry,
    tag: str,
    key: SigningKey | None,
    require: tuple[str, ...] = ("cluster-tested",),
    today: date = TODAY,
) -> dict[str, Answer]:
    with opened(registry) as there:
        source = RegistrySource(there)
        manifest = source.manifest(tag)
        assert manifest is not None
        found = check(
            source, manifest, key=key.public if key else None, today=today, tag=tag, require=require
        )
    return {answer.name: answer for answer in found}


def failed(found: dict[str, Answer]) -> dict[str, str]:
    return {a.name: a.told for a in found.values() if a.status == "failed"}


def advisory(ident: str, package: tuple[str, str], *events: dict[str, str], **more: Any) -> bytes:
    ecosystem, name = package
    affected = {
        "package": {"ecosystem": ecosystem, "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
    }
    return json.dumps({"id": ident, "affected": [affected], **more}).encode()


GRAVE = {"database_specific": {"severity": "HIGH"}}


def put(registry: Registry, tag: str, content: bytes) -> None:
    kind = "application/vnd.oci.image.manifest.v1+json"
    for name in (tag, sha256(content)):
        registry.manifests[PATH][name] = (kind, content)


def replace_document(registry: Registry, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a document of the image: its blob, and the manifest that attaches it."""
    for digest, (_, content) in list(registry.manifests[PATH].items()):
        value = json.loads(content)
        if "subject" not in value or value["annotations"].get(
            "org.opencontainers.image.title"
        ) != name:  # fmt: skip
            continue
        del registry.manifests[PATH][digest]
        new = change(registry.repository(PATH)[value["layers"][0]["digest"]])
        registry.repository(PATH)[sha256(new)] = new
        value["layers"][0] |= {"digest": sha256(new), "size": len(new)}
        put(registry, sha256(json.dumps(value).encode()), json.dumps(value).encode())
