"""A repository of a registry: blobs and manifests in and out, each checked by its digest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mlruntime.documents.oci import INDEX_TYPE, MANIFEST_TYPE, Document, digest_of
from mlruntime.errors import HashMismatch, Unavailable
from mlruntime.fetch.retries import TemporaryFailure
from mlruntime.fetch.web import Web, held, without_markup
from mlruntime.host.settings.credentials import Login
from mlruntime.registry.names import Name
from mlruntime.registry.requests import (
    AGAIN,
    DELETE,
    LIST_BYTES,
    PULL,
    PUSH,
    Requests,
    said_of,
    whole,
)
from mlruntime.registry.uploads import Blob, Upload
from mlruntime.store.store import file_sha256, storage_errors

_MANIFESTS: Final = ", ".join(
    (
        MANIFEST_TYPE,
        INDEX_TYPE,
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
# The largest manifest that a registry must take, in bytes (distribution specification 1.1).
_MANIFEST_BYTES: Final = 4 << 20


class Repository:
    """One repository. Safe to use from many threads.

    ``login`` returns the login for a host; ``sent`` gets the bytes of blobs as they are sent.
    """

    def __init__(
        self,
        web: Web,
        name: Name,
        login: Callable[[str], Login | None],
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.name = name
        self._requests = Requests(web, name, login)
        self._sent = sent

    # Blobs.

    def has_blob(self, digest: str) -> bool:
        """Return whether the repository has a blob."""
        return self._requests.ask("HEAD", f"/blobs/{digest}", scope=PULL).status_code == 200

    def push_blob(self, blob: Blob, *, mount_from: str | None = None) -> str:
        """Put a blob there; return what it took: ``there``, ``mounted`` or ``sent``.

        ``mount_from`` is the path of another repository of the registry that may have it. An
        upload that breaks off goes on where the registry says that it ended.
        """
        if self.has_blob(blob.digest):
            return "there"
        return Upload(self._requests, blob, self._sent).push(mount_from)

    def pull_blob(self, digest: str, target: Path, size: int) -> None:
        """Write a blob of this size into a file, going on after what it has; check it.

        Raises ``HashMismatch`` when the registry sends other bytes.
        """
        with storage_errors(target.parent):
            target.touch()

        def attempt() -> None:
            have = target.stat().st_size
            if have > size:
                target.write_bytes(b"")
                have = 0
            if have < size:
                self._stream(digest, target, have, size)

        where = f"{self.name.api}/blobs/{digest}"
        self._requests.web.again(attempt, where, AGAIN, progress=lambda: held(target))
        found = f"sha256:{file_sha256(target)}"
        if found != digest:
            target.unlink()
            raise HashMismatch(
                f"{self.name.repository} sends other bytes than it was asked for",
                why=f"asked for {digest}, got {found}",
                hint="something on the way, or the registry itself, changes what it holds",
            )

    def _stream(self, digest: str, target: Path, have: int, size: int) -> None:
        url = f"{self.name.api}/blobs/{digest}"
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._requests.streamed(url, headers) as answer:
            if answer.status_code not in (200, 206):
                refused = whole(answer, LIST_BYTES, url)
                self._requests.must(refused, (200, 206), f"the registry does not give {digest}")
            with (
                storage_errors(target.parent),
                target.open("ab" if answer.status_code == 206 else "wb") as sink,
            ):
                for chunk in answer.iter_raw():
                    if sink.tell() + len(chunk) > size:
                        raise HashMismatch(f"{url} sends more than its {size} bytes")
                    sink.write(chunk)
        if target.stat().st_size < size:
            raise TemporaryFailure("the connection was cut")

    def small_blob(self, digest: str, limit: int = 64 << 20) -> bytes:
        """Return a document of at most ``limit`` bytes, checked by its digest."""
        answer = self._requests.small(f"/blobs/{digest}", limit)
        self._requests.must(answer, (200,), f"the registry does not give {digest}")
        if digest_of(answer.content) != digest:
            raise HashMismatch(
                f"{self.name.repository} sends other bytes than it was asked for",
                why=f"asked for {digest}, got {digest_of(answer.content)}",
            )
        return answer.content

    # Manifests.

    def manifest(self, reference: str) -> Document | None:
        """Return the manifest of a tag or digest, ``None`` when there is none.

        Raises ``HashMismatch`` when a digest gets other bytes.
        """
        headers = {"Accept": _MANIFESTS}
        answer = self._requests.small(f"/manifests/{reference}", _MANIFEST_BYTES, headers)
        if answer.status_code == 404:
            return None
        self._requests.must(answer, (200,), f"the registry does not give {reference}")
        kind = answer.headers.get("Content-Type", MANIFEST_TYPE).partition(";")[0]
        found = Document(content=answer.content, media_type=kind)
        if reference.startswith("sha256:") and found.digest != reference:
            raise HashMismatch(
                f"{self.name.repository} sends another manifest than it was asked for",
                why=f"asked for {reference}, got {found.digest}",
            )
        return found

    def push_manifest(self, manifest: Document, reference: str | None = None) -> None:
        """Put a manifest there, by its digest, or under a tag."""
        if len(manifest.content) > _MANIFEST_BYTES:
            raise Unavailable("a manifest is too large for registries", why="4 MiB is the most")
        where = reference or manifest.digest
        answer = self._requests.ask(
            "PUT",
            f"/manifests/{where}",
            scope=PUSH,
            headers={"Content-Type": manifest.media_type},
            content=manifest.content,
        )
        self._requests.must(answer, (200, 201), f"the registry does not take the manifest {where}")
        self._requests.same(answer, manifest.digest, "manifest")

    def delete_tag(self, tag: str) -> str | None:
        """Take a tag away, and nothing else; return why the registry does not, if it does not.

        Registries of distribution 2 delete by digest only, which would take every tag of it.
        """
        try:
            answer = self._requests.ask("DELETE", f"/manifests/{tag}", scope=DELETE)
        except Unavailable as problem:
            return problem.why or problem.what
        if self.manifest(tag) is None:
            return None
        return f"HTTP status {answer.status_code}: {said_of(answer)}"

    def tags(self) -> tuple[str, ...]:
        """Return the tags of the repository, sorted; none when there is no such repository."""
        found: set[str] = set()
        for answer in self._requests.pages("/tags/list", "?n=1000"):
            if answer.status_code == 404:
                break
            self._requests.must(answer, (200,), "the registry lists no tags")
            try:
                found |= {str(tag) for tag in answer.json().get("tags") or []}
            except (ValueError, AttributeError, TypeError):
                raise Unavailable(
                    "the registry answers with something else than its tags",
                    where=self.name.repository,
                    why=without_markup(answer.text) or "it is no JSON",
                    hint="something between this host and the registry may answer in its place",
                ) from None
        return tuple(sorted(found))

    def referrers(self, digest: str) -> list[dict[str, Any]] | None:
        """Return the descriptors that refer to a digest; ``None`` without the referrers API."""
        found: list[dict[str, Any]] = []
        for answer in self._requests.pages(f"/referrers/{digest}", ""):
            kind = answer.headers.get("Content-Type", "")
            if answer.status_code != 200 or INDEX_TYPE not in kind:
                return None
            page = Document(content=answer.content, media_type=INDEX_TYPE).parsed()
            found += [e for e in page.get("manifests") or [] if isinstance(e, dict)]
        return found
