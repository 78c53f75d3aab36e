"""A repository of a registry: blobs and manifests in and out, each checked by its digest."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

from mlruntime.documents.oci import INDEX_TYPE, MANIFEST_TYPE, Document, digest_of
from mlruntime.errors import HashMismatch, Unavailable
from mlruntime.fetch.web import Answer, StumbleError, Web, held, with_query, without_markup
from mlruntime.host.settings import without_secrets
from mlruntime.host.settings.credentials import Login
from mlruntime.registry.auth import ALSO, REFUSED, Keys
from mlruntime.registry.names import Name
from mlruntime.store.store import file_sha256, storage_errors

PULL: Final = "pull"
PUSH: Final = "pull,push"
DELETE: Final = "pull,push,delete"
_MANIFESTS: Final = ", ".join(
    (
        MANIFEST_TYPE,
        INDEX_TYPE,
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_BLOCK: Final = 1 << 20
# The headers of an answer that are looked at later.
_KEPT: Final = ("content-type", "link", "www-authenticate", "docker-content-digest")
# The largest manifest that a registry must take, in bytes (distribution specification 1.1).
_MANIFEST_BYTES: Final = 4 << 20
_HINT: Final = "run it again: blobs that have arrived whole are not sent again"
# A list of tags or referrers, in bytes: far more than any registry's page.
_LIST_BYTES: Final = 16 << 20
# Uploads that the registry has forgotten, or counts otherwise than we do, begin anew.
_LOST: Final = (404, 416)


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """Bytes to be pushed: those of a file, or of ``content``."""

    digest: str
    size: int
    path: Path | None = None
    content: bytes = b""

    @classmethod
    def of(cls, content: bytes) -> "Blob":
        """Return the blob of some bytes."""
        return cls(digest=digest_of(content), size=len(content), content=content)

    def read(self, start: int) -> Iterator[bytes]:
        """Yield the bytes from an offset on."""
        if self.path is None:
            yield self.content[start:]
            return
        with self.path.open("rb") as file:
            file.seek(start)
            while block := file.read(_BLOCK):
                yield block


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
        self._web = web
        self._keys = Keys(web, name, login)
        self._sent = sent

    # Blobs.

    def has_blob(self, digest: str) -> bool:
        """Return whether the repository has a blob."""
        return self._ask("HEAD", f"/blobs/{digest}", scope=PULL).status_code == 200

    def push_blob(self, blob: Blob, *, mount_from: str | None = None) -> str:
        """Put a blob there; return what it took: ``there``, ``mounted`` or ``sent``.

        ``mount_from`` is the path of another repository of the registry that may have it. An
        upload that breaks off goes on where the registry says that it ended.
        """
        if self.has_blob(blob.digest):
            return "there"
        url = f"{self.name.api}/blobs/uploads/"
        state = _Upload()

        def attempt() -> str:
            if state.location is not None:
                self._resume(state)
            elif state.begun and self._has_now(blob.digest):
                return "sent"  # all of it had arrived before the answer was lost
            else:
                mount = f"?mount={blob.digest}&from={mount_from}" if mount_from else ""
                scope = f"{PUSH}{ALSO}{mount_from}" if mount_from else PUSH
                begun = self._exchange("POST", url + mount, scope=scope)
                if begun.status_code == 201:
                    return "mounted"
                self._must(begun, (202,), "the registry takes no uploads")
                state.begin(self._upload_at(url, begun))
            self._send(blob, state)
            return "sent"

        where = f"{self.name.api}/blobs/{blob.digest}"
        return self._web.again(attempt, where, _HINT, progress=lambda: state.have)

    def _has_now(self, digest: str) -> bool:
        url = f"{self.name.api}/blobs/{digest}"
        return self._exchange("HEAD", url, scope=PULL).status_code == 200

    def _upload_at(self, asked: str, answer: Answer) -> str:
        """Return where an upload goes on; ``Unavailable`` if that is nowhere, or not safe."""
        said = answer.headers.get("Location")
        if said is None:
            raise Unavailable(
                "the registry does not say where an upload goes",
                where=self.name.repository,
                why=f"HTTP status {answer.status_code} without the header Location",
                hint="something between this host and the registry may answer in its place",
            )
        url = str(urljoin(asked, str(said)))
        if not self.name.may_send_to(url):
            raise Unavailable(
                f"{self.name.host} wants uploads at an address that is not safe",
                where=without_secrets(url),
                why="they would travel without encryption",
                hint="a proxy before the registry that ends TLS must set X-Forwarded-Proto",
            )
        return url

    def _resume(self, state: "_Upload") -> None:
        """Ask how far an upload has come."""
        assert state.location is not None
        status = self._exchange("GET", state.location, scope=PUSH)
        if status.status_code in _LOST:
            state.location = None
            raise StumbleError("the registry has forgotten the upload", 0.0)
        self._must(status, (204, 202, 200), "the upload cannot go on")
        end = status.headers.get("Range", "").rpartition("-")[2]
        if "Location" in status.headers:
            state.begin(self._upload_at(state.location, status))
        # "0-0" may be one byte or none: registries do not agree, and one byte is sent soon.
        state.have = int(end) + 1 if end.isdecimal() and int(end) > 0 else 0
        if state.have == 0:
            state.location = None
            raise StumbleError("the registry has kept nothing of the upload", 0.0)

    def _send(self, blob: Blob, state: "_Upload") -> None:
        assert state.location is not None
        if state.have < blob.size:
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(blob.size - state.have),
            }
            if state.have:
                headers["Content-Range"] = f"{state.have}-{blob.size - 1}"
            body = self._counted(blob.read(state.have))
            answer = self._exchange("PATCH", state.location, PUSH, headers, body)
            if answer.status_code in _LOST:
                state.location = None
                raise StumbleError("the registry has lost the upload", 0.0)
            self._must(answer, (202, 204), "the registry does not take the blob")
            if "Location" in answer.headers:
                state.begin(self._upload_at(state.location, answer))
            state.have = blob.size
        end = with_query(state.location, {"digest": blob.digest})
        done = self._exchange("PUT", end, PUSH, {"Content-Length": "0"})
        if done.status_code in (400, *_LOST) and not self.has_blob(blob.digest):
            # It has other bytes than we have sent, for whatever reason: from the beginning.
            state.location, state.have = None, 0
            raise StumbleError(f"HTTP status {done.status_code}: {_said(done)}")
        self._must(done, (201, 204, 400, *_LOST), "the registry does not take the blob")
        self._same(done, blob.digest, "blob")

    def _counted(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            yield block
            self._sent(len(block))

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
        self._web.again(attempt, where, _HINT, progress=lambda: held(target))
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
        for again in (True, False):
            used = self._keys.headers(PULL)
            with self._web.streamed(url, headers=headers | used) as answer:
                if again and self._logged_in(answer, PULL, used):
                    continue
                if answer.status_code not in (200, 206):
                    refused = _whole(answer, _LIST_BYTES, url)
                    self._must(refused, (200, 206), f"the registry does not give {digest}")
                with (
                    storage_errors(target.parent),
                    target.open("ab" if answer.status_code == 206 else "wb") as sink,
                ):
                    for chunk in answer.iter_raw():
                        if sink.tell() + len(chunk) > size:
                            raise HashMismatch(f"{url} sends more than its {size} bytes")
                        sink.write(chunk)
                if target.stat().st_size < size:
                    raise StumbleError("the connection was cut")
                return

    def small_blob(self, digest: str, limit: int = 64 << 20) -> bytes:
        """Return a document of at most ``limit`` bytes, checked by its digest."""
        answer = self._get(f"/blobs/{digest}", limit)
        self._must(answer, (200,), f"the registry does not give {digest}")
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
        answer = self._get(f"/manifests/{reference}", _MANIFEST_BYTES, headers)
        if answer.status_code == 404:
            return None
        self._must(answer, (200,), f"the registry does not give {reference}")
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
        answer = self._ask(
            "PUT",
            f"/manifests/{where}",
            scope=PUSH,
            headers={"Content-Type": manifest.media_type},
            content=manifest.content,
        )
        self._must(answer, (200, 201), f"the registry does not take the manifest {where}")
        self._same(answer, manifest.digest, "manifest")

    def delete_tag(self, tag: str) -> str | None:
        """Take a tag away, and nothing else; return why the registry does not, if it does not.

        Registries of distribution 2 delete by digest only, which would take every tag of it.
        """
        try:
            answer = self._ask("DELETE", f"/manifests/{tag}", scope=DELETE)
        except Unavailable as problem:
            return problem.why or problem.what
        if self.manifest(tag) is None:
            return None
        return f"HTTP status {answer.status_code}: {_said(answer)}"

    def tags(self) -> tuple[str, ...]:
        """Return the tags of the repository, sorted; none when there is no such repository."""
        found: set[str] = set()
        for answer in self._pages("/tags/list", "?n=1000"):
            if answer.status_code == 404:
                break
            self._must(answer, (200,), "the registry lists no tags")
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

    def _pages(self, below: str, query: str) -> Iterator[Answer]:
        """Yield the pages of a list; it ends where the registry sends a page once more."""
        seen: set[str] = set()
        while query not in seen:
            seen.add(query)
            answer = self._get(below + query, _LIST_BYTES)
            yield answer
            more = answer.links.get("next", {}).get("url")
            if not more:
                return
            query = "?" + str(more).partition("?")[2]

    def referrers(self, digest: str) -> list[dict[str, Any]] | None:
        """Return the descriptors that refer to a digest; ``None`` without the referrers API."""
        found: list[dict[str, Any]] = []
        for answer in self._pages(f"/referrers/{digest}", ""):
            kind = answer.headers.get("Content-Type", "")
            if answer.status_code != 200 or INDEX_TYPE not in kind:
                return None
            page = Document(content=answer.content, media_type=INDEX_TYPE).parsed()
            found += [e for e in page.get("manifests") or [] if isinstance(e, dict)]
        return found

    # Requests.

    def _ask(
        self,
        method: str,
        below: str,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """Send a small request, again where that may help; 401 leads to a login."""
        url = self.name.api + below

        def attempt() -> Answer:
            return self._exchange(method, url, scope, headers or {}, content)

        return self._web.again(attempt, url, _HINT)

    def _get(self, below: str, limit: int, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for a small document; one of more than ``limit`` bytes is refused as it comes."""
        url = self.name.api + below

        def attempt() -> Answer:
            for again in (True, False):
                used = self._keys.headers(PULL)
                with self._web.streamed(url, headers={**(headers or {}), **used}) as answer:
                    if again and self._logged_in(answer, PULL, used):
                        continue
                    whole = _whole(answer, limit, url)
                if whole.status_code in REFUSED:
                    raise self._keys.refused("the registry refused the request", whole)
                return whole
            raise AssertionError("unreachable")

        return self._web.again(attempt, url, _HINT)

    def _logged_in(self, answer: Answer, scope: str, used: Mapping[str, str]) -> bool:
        """Return whether a 401 of the registry itself has led to a login that may do."""
        ours = self.name.is_at(str(answer.url))
        return answer.status_code == 401 and ours and self._keys.answer(answer, scope, used)

    def _exchange(
        self,
        method: str,
        url: str,
        scope: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterator[bytes] | None = None,
    ) -> Answer:
        # An upload may go to another host, which must not get the login.
        ours = self.name.is_at(url)
        used = self._keys.headers(scope) if ours else {}
        answer = self._web.once(method, url, headers={**(headers or {}), **used}, content=content)
        if ours and self._logged_in(answer, scope, used):
            if content is not None and not isinstance(content, bytes):
                raise StumbleError("the token has expired", 0.0)  # what was sent of it is gone
            used = self._keys.headers(scope)
            answer = self._web.once(
                method, url, headers={**(headers or {}), **used}, content=content
            )
        if answer.status_code in REFUSED:
            raise self._keys.refused("the registry refused the request", answer)
        return answer

    def _must(self, answer: Answer, good: tuple[int, ...], what: str) -> None:
        if answer.status_code in good:
            return
        raise Unavailable(
            what,
            where=self.name.repository,
            why=f"HTTP status {answer.status_code}: {_said(answer)}",
            hint="a registry that is read-only, full or behind a cache says this"
            if answer.status_code in (405, 413, 507)
            else None,
        )

    def _same(self, answer: Answer, digest: str, what: str) -> None:
        said = answer.headers.get("Docker-Content-Digest", digest)
        if said != digest:
            raise HashMismatch(
                f"{self.name.repository} has stored another {what} than was sent",
                why=f"sent {digest}, it says {said}",
            )


@dataclass(slots=True)
class _Upload:
    """Where an upload is, and how many bytes of it the registry has."""

    location: str | None = None
    have: int = 0
    begun: bool = False

    def begin(self, location: str) -> None:
        if self.location is None:
            self.have = 0
        self.location, self.begun = location, True


def _whole(answer: Answer, limit: int, url: str) -> Answer:
    """Return a streamed answer with its body, which may have ``limit`` bytes."""
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > limit:
            raise HashMismatch(
                f"{without_secrets(url)} sends more than {limit} bytes",
                why="so large is no document that belongs there",
            )
    kept = {k: v for k, v in answer.headers.items() if k.lower() in _KEPT}
    return Answer(answer.status_code, headers=kept, content=bytes(body), request=answer.request)


def _said(answer: Answer) -> str:
    """Return a registry's own words, where it has any."""
    try:
        errors = answer.json()["errors"]
        return "; ".join(f"{e['code']} {e.get('message', '')}".strip() for e in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        return without_markup(answer.text) or "no reason given"
