"""HTTP for every reader of a registry: retries, resumed downloads, and precise errors."""

import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import httpx

from mlruntime.errors import Unavailable
from mlruntime.fetch.local import opened, path_of
from mlruntime.fetch.retries import Retries, TemporaryFailure, pause_of
from mlruntime.fetch.routes import Routes
from mlruntime.host.settings import Sources, redacted, without_secrets
from mlruntime.store.store import storage_errors

# How long a server may be silent, unless the host's settings say something else.
_SILENCE: Final = 60.0
_CONNECT: Final = 20.0
# The longest document that is taken into memory, unpacked: some indexes have 30 MB of a project.
_LARGEST: Final = 256 << 20
# What no longer holds of a body that was unpacked.
_UNPACKED: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
T = TypeVar("T")
_LOG: Final = logging.getLogger(__name__)
# A server's answer, for those who ask with ``Web.once``.
Answer = httpx.Response


class _StoppedError(Exception):
    """Another download failed, or the user gave up: this one ends too."""


class Web:
    """HTTP with retries, and ``file:`` addresses, for every module that reads a registry.

    ``pauses`` are the seconds to wait before the second, third, … try, unless the server says how
    long with ``Retry-After``. ``largest`` is how many bytes of a document are taken into memory.
    ``part``, wherever it is asked for, is the ecosystem: its client may
    have settings of its own. Use as a context manager.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        pauses: tuple[float, ...] = (0.5, 2.0),
        sleep: Callable[[float], None] = time.sleep,
        largest: int = _LARGEST,
    ) -> None:
        self._largest = largest
        silence = sources.network.timeout or _SILENCE
        self._routes = Routes(sources)
        self._client = httpx.Client(
            transport=self._routes,
            timeout=httpx.Timeout(silence, connect=max(min(_CONNECT, silence), silence / 3)),
            follow_redirects=True,
            trust_env=False,
        )
        self.stop = threading.Event()
        self._retries = Retries(pauses=pauses, sleep=sleep, stop=self.stop.is_set)

    def __enter__(self) -> "Web":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def text(
        self, url: str, *, accept: str = "*/*", part: str | None = None
    ) -> tuple[str, str, str] | None:
        """Return a small document as (final URL, content type, text); ``None`` if not there."""
        if (path := path_of(url)) is not None:
            with opened(path, url) as file:
                return None if file is None else (url, "", file.read().decode(errors="replace"))

        def get() -> tuple[str, str, str] | None:
            exchange = self._client.stream(
                "GET", url, headers={"Accept": accept}, extensions={"part": part}
            )
            with self._stumbling(url, part), exchange as stream:
                answer = self._whole(stream)
            if self._absent(answer, url, part):
                return None
            return str(answer.url), answer.headers.get("Content-Type", ""), answer.text

        return self._read_again(get, url)

    def download(
        self,
        url: str,
        target: Path,
        *,
        grown: Callable[[int], None],
        size: int | None,
        part: str | None = None,
    ) -> bool:
        """Fill ``target`` from ``url``, going on after the bytes it already has.

        Returns ``False`` when the registry says that there is no such file. Stops past
        ``size`` bytes, if known: a longer answer cannot be the requested file.
        """
        if (path := path_of(url)) is not None:
            with opened(path, url) as file:
                if file is None:
                    return False
                grown(-held(target))
                with storage_errors(target.parent), target.open("wb") as sink:
                    shutil.copyfileobj(file, sink)
            grown(held(target))
            return True
        return self._read_again(
            lambda: self._stream(url, target, grown, size, part), url, lambda: held(target)
        )

    def once(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | Iterator[bytes] | None = None,
        part: str | None = None,
        follow: bool = True,
    ) -> httpx.Response:
        """Send one request and return its answer, whatever its status, read to the end.

        Raises ``TemporaryFailure`` for what another try may mend: a cut connection, a server's own
        trouble (5xx), and too many requests (429). For use within ``again``.
        """
        exchange = self._client.stream(
            method,
            url,
            headers=dict(headers),
            content=content,
            extensions={"part": part},
            follow_redirects=follow,
        )
        with self._stumbling(url, part), exchange as stream:
            answer = self._whole(stream)
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            said = without_markup(answer.text)
            raise TemporaryFailure(
                f"HTTP status {answer.status_code}" + (f": {said}" if said else ""),
                pause_of(answer, url),
            )
        return answer

    @contextmanager
    def streamed(self, url: str, *, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Yield the answer to a GET before its body is read; raises as ``once`` does."""
        exchange = self._client.stream(
            "GET", url, headers={"Accept-Encoding": "identity", **headers}
        )
        with self._stumbling(url, None), exchange as answer:
            if answer.status_code >= 500 or answer.status_code in (408, 429):
                raise TemporaryFailure(f"HTTP status {answer.status_code}", pause_of(answer, url))
            yield answer

    def again(
        self,
        attempt: Callable[[], T],
        url: str,
        hint: str,
        *,
        progress: Callable[[], int] = lambda: 0,
    ) -> T:
        """Return what ``attempt`` returns, tried again after each ``TemporaryFailure``.

        After the last try it raises ``Unavailable`` with ``hint``. Tries that got further, as
        ``progress`` tells in bytes, do not count.
        """
        return self._retries.again(
            attempt, url, failed="could not be used", hint=hint, progress=progress
        )

    def _read_again(
        self, attempt: Callable[[], T], url: str, progress: Callable[[], int] = lambda: 0
    ) -> T:
        hint = "check the network, the proxy and the registry, then run it again: what was"
        hint += " downloaded is kept"
        return self._retries.again(
            attempt, url, failed="could not be read", hint=hint, progress=progress
        )

    def _stream(
        self,
        url: str,
        target: Path,
        grown: Callable[[int], None],
        size: int | None,
        part: str | None,
    ) -> bool:
        have = held(target)
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        exchange = self._client.stream("GET", url, headers=headers, extensions={"part": part})
        with self._stumbling(url, part), exchange as answer:
            useless = have and not _continues(answer, have)
            if answer.status_code == 416 or (answer.status_code == 206 and useless):
                target.unlink(missing_ok=True)
                grown(-have)
                raise TemporaryFailure("it would not send the rest of the file")
            if self._absent(answer, url, part):
                return False
            if useless:
                grown(-have)
            with storage_errors(target.parent), target.open("wb" if useless else "ab") as sink:
                # Unbuffered, so that everything received before a cut is on disk for the next try.
                for chunk in answer.iter_raw():
                    if self.stop.is_set():
                        raise _StoppedError
                    sink.write(chunk)
                    grown(len(chunk))
                    if size is not None and sink.tell() > size:
                        return True
                # Without a Content-Length, only the expected size tells of a cut connection.
                if "Content-Length" not in answer.headers and sink.tell() < (size or 0):
                    raise TemporaryFailure("the connection was cut")
        return True

    def _whole(self, answer: httpx.Response) -> httpx.Response:
        """Return an answer with its body, which may unpack to a thousand times what was sent."""
        body = bytearray()
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > self._largest:
                url = without_secrets(str(answer.url))
                raise Unavailable(
                    f"{url} is larger than any document that is needed",
                    why=f"it has more than {self._largest >> 20} MiB",
                    hint="check that this address is a registry's",
                )
        headers = [(name, value) for name, value in answer.headers.items() if name not in _UNPACKED]
        return httpx.Response(
            answer.status_code, headers=headers, content=bytes(body), request=answer.request
        )

    @contextmanager
    def _stumbling(self, url: str, part: str | None) -> Iterator[None]:
        """Turn temporary network errors into ``TemporaryFailure``; certificates are not retried."""
        try:
            yield
        except (httpx.RequestError, httpx.InvalidURL) as error:
            said = redacted(str(error)) or type(error).__name__
            if "CERTIFICATE_VERIFY_FAILED" in said:
                raise Unavailable(
                    "a registry's certificate is not trusted",
                    where=without_secrets(url),
                    why=said,
                    hint="name your proxy's CA with --ca-bundle or SSL_CERT_FILE",
                ) from None
            proxy = self._routes.proxy(url, part)
            if proxy is not None:
                said += f", through the proxy {proxy}"
            if isinstance(error, httpx.ProxyError) and re.match(r"40[37]\b", said):
                raise _proxy_refuses(url, said) from None
            raise TemporaryFailure(said) from None

    def _absent(self, answer: httpx.Response, url: str, part: str | None) -> bool:
        """Return whether the registry has no such file; raise for every other refusal."""
        status = answer.status_code
        if status in (404, 410):
            return True
        if status >= 500 or status in (408, 429):
            raise TemporaryFailure(f"HTTP status {status}", pause_of(answer, url))
        if status == 407:
            raise _proxy_refuses(url, f"HTTP status 407, by {self._routes.proxy(url, part)}")
        if status == 401:
            login = self._routes.login(str(answer.url), part)
            given = f"the login of {login.setting}" if login else "no login"
            raise Unavailable(
                f"{without_secrets(str(answer.url))} requires a valid login",
                why=f"HTTP status {status}, with {given}",
                hint="`mlruntime doctor` shows which logins are known;"
                " docs/host-settings.md says where they are read",
            )
        if status >= 400:
            raise Unavailable(f"{without_secrets(url)} was refused", why=f"HTTP status {status}")
        return False


def with_query(url: str, fields: Mapping[str, str | list[str]]) -> str:
    """Return an address with more fields in its query."""
    return str(httpx.URL(url).copy_merge_params(dict(fields)))


def without_markup(text: str) -> str:
    """Return the start of what a server said, on one line; nothing of a page in HTML."""
    return "" if "<" in text[:200] else " ".join(text.split())[:200]


def _proxy_refuses(url: str, why: str) -> Unavailable:
    return Unavailable(
        "the proxy refused the request",
        where=without_secrets(url),
        why=why,
        hint="put a user name and password into that setting, or leave the host out with NO_PROXY",
    )


def _continues(answer: httpx.Response, have: int) -> bool:
    start = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return answer.status_code == 206 and start is not None and int(start[1]) == have


def held(path: Path) -> int:
    """Return how many bytes a file has, none if it is not there."""
    return path.stat().st_size if path.is_file() else 0
