"""Documents of a released image in a registry: attached, restored, and stated anew.

A version keeps its images, and its documents can be renewed: an exception has a new last day, or
the image was validated once more. Then there is one more release statement, with the next revision,
and whoever verifies takes the newest.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from mlruntime.errors import HashMismatch, MlruntimeError, Unavailable
from mlruntime.registry.client import Repository
from mlruntime.registry.referrers import Attachment, attach, referrers
from mlruntime.release.documents import (
    RELEASE,
    Candidate,
    attachment,
    plain_documents,
    release_statement,
    statements_of,
)
from mlruntime.release.signing import SigningKey, enveloped, opened
from mlruntime.release.statements import age


def attach_documents(
    repository: Repository, made: Candidate, version: str, notes: str, key: SigningKey
) -> tuple[Attachment, ...]:
    """Attach every document of an image; what is attached already, signed by this key, stays."""
    there = _attached(repository, made.digest)
    documents = list(plain_documents(made, version, notes))
    for name, statement in statements_of(made, repository.name.path).items():
        documents.append(_signed(name, statement, key, there.get(name, ())))
    documents.append(_stated(made, version, tuple(documents), key, there.get(RELEASE, ())))
    subject = made.image.manifest.descriptor()
    for document in documents:
        if document.content not in there.get(document.name, ()):
            attach(repository, subject, document)
    return tuple(documents)


def _stated(
    made: Candidate,
    version: str,
    documents: tuple[Attachment, ...],
    key: SigningKey,
    there: Iterable[bytes],
) -> Attachment:
    """Return the newest statement if it says just this, or one of the next revision."""
    of_version = [
        (said, known)
        for said, known in _opened(RELEASE, key, there)
        if said["predicate"]["version"] == version
    ]
    newest = max((age(said)[1] for said, _ in of_version), default=0)
    if newest:
        same = release_statement(made, version, documents, revision=newest)
        for said, known in of_version:
            if said == json.loads(same):
                return attachment(RELEASE, known)
    anew = release_statement(made, version, documents, revision=newest + 1)
    return attachment(RELEASE, enveloped(anew, key))


def _signed(name: str, statement: bytes, key: SigningKey, there: Iterable[bytes]) -> Attachment:
    """Return a statement that is there and signed, or sign it: signatures are never the same."""
    wanted = base64.b64encode(statement).decode()
    for _, known in _opened(name, key, there):
        if json.loads(known)["payload"] == wanted:
            return attachment(name, known)
    return attachment(name, enveloped(statement, key))


def _opened(
    name: str, key: SigningKey, there: Iterable[bytes]
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield the statements that this key has signed, each with its envelope."""
    for known in there:
        with suppress(MlruntimeError):
            yield opened(known, key.public, what=name), known


def _attached(repository: Repository, digest: str) -> dict[str, list[bytes]]:
    """Return the documents of a digest that are there whole, by name."""
    found: dict[str, list[bytes]] = {}
    for entry in referrers(repository, digest):
        manifest = repository.manifest(str(entry.get("digest")))
        if manifest is None:
            continue
        for layer in manifest.parsed().get("layers", ()):
            name = str((layer.get("annotations") or {}).get("org.opencontainers.image.title", ""))
            with suppress(Unavailable, HashMismatch):  # its bytes are gone: it is attached again
                found.setdefault(name, []).append(repository.small_blob(str(layer["digest"])))
    return found
