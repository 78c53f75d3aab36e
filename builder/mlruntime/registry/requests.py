"""Requests to a repository of a registry, which log in where it asks for that."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from mlruntime.errors import HashMismatch, Unavailable
from mlruntime.fetch.retries import TemporaryFailure
from mlruntime.fetch.web import Answer, Web, without_markup
from mlruntime.host.settings import without_secrets
from mlruntime.host.settings.credentials import Login
from mlruntime.registry.auth import REFUSED, Authorization
from mlruntime.registry.names import Name

PULL: Final = "pull"
PUSH: Final = "pull,push"
DELETE: Final = "pull,push,delete"
AGAIN: Final = "run it again: blobs that have arrived whole are not sent again"
# A list of tags or referrers, in bytes: far more than any registry's page.
LIST_BYTES: Final = 16 << 20
# The headers of an answer that are looked at later.
_KEPT: Final = ("content-type", "link", "www-authenticate", "docker-content-digest")


class Requests:
    """Sends requests to one repository. Safe to use from many threads.

    ``login`` returns the login for a host.
    """

    def __init__(self, web: Web, name: Name, login: Callable[[str], Login | None]) -> None:
        self.name = name
        self.web = web
        self._authorization = Authorization(web, name, login)

    def ask(
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
            return self.once(method, url, scope, headers or {}, content)

        return self.web.again(attempt, url, AGAIN)

    def small(self, below: str, limit: int, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for a small document; one of more than ``limit`` bytes is refused as it comes."""
        url = self.name.api + below

        def attempt() -> Answer:
            with self.streamed(url, headers or {}) as answer:
                found = whole(answer, limit, url)
            if found.status_code in REFUSED:
                raise self._authorization.refused("the registry refused the request", found)
            return found

        return self.web.again(attempt, url, AGAIN)

    def _logged_in(self, answer: Answer, scope: str, used: Mapping[str, str]) -> bool:
        """Return whether a 401 of the registry itself has led to a login that may do."""
        ours = self.name.is_at(str(answer.url))
        return (
            answer.status_code == 401 and ours and self._authorization.answer(answer, scope, used)
        )

    def once(
        self,
        method: str,
        url: str,
        scope: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterator[bytes] | None = None,
    ) -> Answer:
        """Send a request, and once more after a login; another host never gets the login."""
        ours = self.name.is_at(url)
        used = self._authorization.headers(scope) if ours else {}
        answer = self.web.once(method, url, headers={**(headers or {}), **used}, content=content)
        if ours and self._logged_in(answer, scope, used):
            if content is not None and not isinstance(content, bytes):
                raise TemporaryFailure("the token has expired", 0.0)  # what was sent of it is gone
            used = self._authorization.headers(scope)
            answer = self.web.once(
                method, url, headers={**(headers or {}), **used}, content=content
            )
        if answer.status_code in REFUSED:
            raise self._authorization.refused("the registry refused the request", answer)
        return answer

    def must(self, answer: Answer, good: tuple[int, ...], what: str) -> None:
        """Raise ``Unavailable`` for an answer with another status."""
        if answer.status_code in good:
            return
        raise Unavailable(
            what,
            where=self.name.repository,
            why=f"HTTP status {answer.status_code}: {said_of(answer)}",
            hint="a registry that is read-only, full or behind a cache says this"
            if answer.status_code in (405, 413, 507)
            else None,
        )

    def same(self, answer: Answer, digest: str, what: str) -> None:
        """Raise ``HashMismatch`` if the registry names another digest than was sent."""
        said = answer.headers.get("Docker-Content-Digest", digest)
        if said != digest:
            raise HashMismatch(
                f"{self.name.repository} has stored another {what} than was sent",
                why=f"sent {digest}, it says {said}",
            )

    def pages(self, below: str, query: str) -> Iterator[Answer]:
        """Yield the pages of a list; it ends where the registry sends a page once more."""
        seen: set[str] = set()
        while query not in seen:
            seen.add(query)
            answer = self.small(below + query, LIST_BYTES)
            yield answer
            more = answer.links.get("next", {}).get("url")
            if not more:
                return
            query = "?" + str(more).partition("?")[2]

    @contextmanager
    def streamed(self, url: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        """Ask for something large, logged in; yield the answer, its body still to be read."""
        for again in (True, False):
            used = self._authorization.headers(PULL)
            with self.web.streamed(url, headers={**headers, **used}) as answer:
                if again and self._logged_in(answer, PULL, used):
                    continue
                yield answer
                return


def whole(answer: Answer, limit: int, url: str) -> Answer:
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


def said_of(answer: Answer) -> str:
    """Return a registry's own words, where it has any."""
    try:
        errors = answer.json()["errors"]
        return "; ".join(f"{e['code']} {e.get('message', '')}".strip() for e in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        return without_markup(answer.text) or "no reason given"
