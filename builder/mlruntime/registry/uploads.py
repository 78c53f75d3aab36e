"""Puts blobs into a repository, going on where a broken upload ended."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

from mlruntime.documents.oci import digest_of
from mlruntime.errors import Unavailable
from mlruntime.fetch.retries import TemporaryFailure
from mlruntime.fetch.web import Answer, with_query
from mlruntime.host.settings import without_secrets
from mlruntime.registry.auth import ALSO
from mlruntime.registry.requests import AGAIN, PULL, PUSH, Requests, said_of

_BLOCK: Final = 1 << 20
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


class Upload:
    """One blob on its way; ``sent`` gets the bytes as they are sent.

    ``location`` is where the upload goes on, and ``have`` how many bytes of it the registry has.
    """

    def __init__(self, requests: Requests, blob: Blob, sent: Callable[[int], None]) -> None:
        self._requests = requests
        self._blob = blob
        self._sent = sent
        self._location: str | None = None
        self._have = 0
        self._begun = False

    def push(self, mount_from: str | None) -> str:
        """Return ``mounted`` or ``sent``; ``mount_from`` is a repository that may have the blob."""
        where = f"{self._requests.name.api}/blobs/{self._blob.digest}"
        return self._requests.web.again(
            lambda: self._attempt(mount_from), where, AGAIN, progress=lambda: self._have
        )

    def _attempt(self, mount_from: str | None) -> str:
        if self._location is not None:
            self._resume()
        elif self._begun and self._is_there():
            return "sent"  # all of it had arrived before the answer was lost
        else:
            url = f"{self._requests.name.api}/blobs/uploads/"
            mount = f"?mount={self._blob.digest}&from={mount_from}" if mount_from else ""
            scope = f"{PUSH}{ALSO}{mount_from}" if mount_from else PUSH
            begun = self._requests.once("POST", url + mount, scope=scope)
            if begun.status_code == 201:
                return "mounted"
            self._requests.must(begun, (202,), "the registry takes no uploads")
            self._begin(self._next(url, begun))
        self._send()
        return "sent"

    def _is_there(self) -> bool:
        url = f"{self._requests.name.api}/blobs/{self._blob.digest}"
        return self._requests.once("HEAD", url, scope=PULL).status_code == 200

    def _begin(self, location: str) -> None:
        if self._location is None:
            self._have = 0
        self._location, self._begun = location, True

    def _next(self, asked: str, answer: Answer) -> str:
        """Return where an upload goes on; ``Unavailable`` if that is nowhere, or not safe."""
        said = answer.headers.get("Location")
        if said is None:
            raise Unavailable(
                "the registry does not say where an upload goes",
                where=self._requests.name.repository,
                why=f"HTTP status {answer.status_code} without the header Location",
                hint="something between this host and the registry may answer in its place",
            )
        url = str(urljoin(asked, str(said)))
        if not self._requests.name.may_send_to(url):
            raise Unavailable(
                f"{self._requests.name.host} wants uploads at an address that is not safe",
                where=without_secrets(url),
                why="they would travel without encryption",
                hint="a proxy before the registry that ends TLS must set X-Forwarded-Proto",
            )
        return url

    def _resume(self) -> None:
        """Ask how far an upload has come."""
        assert self._location is not None
        status = self._requests.once("GET", self._location, scope=PUSH)
        if status.status_code in _LOST:
            self._location = None
            raise TemporaryFailure("the registry has forgotten the upload", 0.0)
        self._requests.must(status, (204, 202, 200), "the upload cannot go on")
        end = status.headers.get("Range", "").rpartition("-")[2]
        if "Location" in status.headers:
            self._begin(self._next(self._location, status))
        # "0-0" may be one byte or none: registries do not agree, and one byte is sent soon.
        self._have = int(end) + 1 if end.isdecimal() and int(end) > 0 else 0
        if self._have == 0:
            self._location = None
            raise TemporaryFailure("the registry has kept nothing of the upload", 0.0)

    def _send(self) -> None:
        assert self._location is not None
        if self._have < self._blob.size:
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(self._blob.size - self._have),
            }
            if self._have:
                headers["Content-Range"] = f"{self._have}-{self._blob.size - 1}"
            body = self._counted(self._blob.read(self._have))
            answer = self._requests.once("PATCH", self._location, PUSH, headers, body)
            if answer.status_code in _LOST:
                self._location = None
                raise TemporaryFailure("the registry has lost the upload", 0.0)
            self._requests.must(answer, (202, 204), "the registry does not take the blob")
            if "Location" in answer.headers:
                self._begin(self._next(self._location, answer))
            self._have = self._blob.size
        end = with_query(self._location, {"digest": self._blob.digest})
        done = self._requests.once("PUT", end, PUSH, {"Content-Length": "0"})
        if done.status_code in (400, *_LOST) and not self._is_there():
            # It has other bytes than we have sent, for whatever reason: from the beginning.
            self._location, self._have = None, 0
            raise TemporaryFailure(f"HTTP status {done.status_code}: {said_of(done)}")
        self._requests.must(done, (201, 204, 400, *_LOST), "the registry does not take the blob")
        self._requests.same(done, self._blob.digest, "blob")

    def _counted(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            yield block
            self._sent(len(block))
