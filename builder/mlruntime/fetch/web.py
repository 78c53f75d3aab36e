"""HTTP as every reader of a registry needs it: retried, resumed, and honest about what failed."""

import re
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import httpx

from mlruntime.errors import Unavailable, UsageError
from mlruntime.host.settings import Sources, without_secrets
from mlruntime.store.store import full_disk

TIMEOUT = httpx.Timeout(60.0, connect=20.0)
T = TypeVar("T")


class _StumbleError(Exception):
    """The registry could not answer just now; another try may do."""


class _StoppedError(Exception):
    """Another download failed, or the user gave up: this one ends too."""


class Web:
    """HTTP with retries, and ``file:`` addresses, for every module that reads a registry.

    ``pauses`` are the seconds to wait before the second, third, … try. Use as a context manager.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        pauses: tuple[float, ...] = (0.5, 2.0),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pauses = pauses
        self._sleep = sleep
        self._client = httpx.Client(
            verify=_tls(sources.ca_bundle), timeout=TIMEOUT, follow_redirects=True, trust_env=True
        )
        self.stop = threading.Event()

    def __enter__(self) -> "Web":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def text(self, url: str, *, accept: str = "*/*") -> tuple[str, str, str] | None:
        """Return a small document as (final URL, content type, text); ``None`` if not there."""
        if (path := _local(url)) is not None:
            return (url, "", path.read_text(encoding="utf-8")) if path.is_file() else None

        def get() -> tuple[str, str, str] | None:
            with _stumbling():
                answer = self._client.get(url, headers={"Accept": accept})
            if _absent(answer, url):
                return None
            return str(answer.url), answer.headers.get("Content-Type", ""), answer.text

        return self._again(get, url)

    def download(
        self, url: str, target: Path, *, grown: Callable[[int], None], size: int | None
    ) -> bool:
        """Fill ``target`` from ``url``, going on after the bytes it already has.

        Returns ``False`` when the registry says that there is no such file. Stops past
        ``size`` bytes, if known: whoever sends more is not sending what was asked for.
        """
        if (path := _local(url)) is not None:
            if not path.is_file():
                return False
            grown(-held(target))
            with full_disk(target.parent):
                shutil.copyfile(path, target)
            grown(held(target))
            return True
        return self._again(lambda: self._stream(url, target, grown, size), url)

    def _stream(
        self, url: str, target: Path, grown: Callable[[int], None], size: int | None
    ) -> bool:
        have = held(target)
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with _stumbling(), self._client.stream("GET", url, headers=headers) as answer:
            useless = have and not _continues(answer, have)
            if answer.status_code == 416 or (answer.status_code == 206 and useless):
                target.unlink(missing_ok=True)
                grown(-have)
                raise _StumbleError("it would not send the rest of the file")
            if _absent(answer, url):
                return False
            if useless:
                grown(-have)
            with full_disk(target.parent), target.open("wb" if useless else "ab") as sink:
                # Unbuffered: what came before a cut must be there for the next try.
                for chunk in answer.iter_raw():
                    if self.stop.is_set():
                        raise _StoppedError
                    sink.write(chunk)
                    grown(len(chunk))
                    if size is not None and sink.tell() > size:
                        return True
                # Without a length nothing but the size tells a cut connection from the end.
                if "Content-Length" not in answer.headers and sink.tell() < (size or 0):
                    raise _StumbleError("the connection was cut")
        return True

    def _again(self, attempt: Callable[[], T], url: str) -> T:
        for pause in (*self._pauses, None):
            try:
                return attempt()
            except _StumbleError as error:
                if pause is None or self.stop.is_set():
                    raise Unavailable(
                        f"{without_secrets(url)} could not be read",
                        why=f"{error} ({len(self._pauses) + 1} tries)",
                        hint="check the network, the proxy and the registry, then run it again:"
                        " what was downloaded is kept",
                    ) from None
                self._sleep(pause)
        raise AssertionError("unreachable")


@lru_cache
def _tls(ca_bundle: Path | None) -> ssl.SSLContext:
    if ca_bundle:
        try:
            return ssl.create_default_context(cafile=str(ca_bundle))
        except OSError as error:  # an SSLError is one
            raise UsageError(
                "the CA bundle holds no certificates we can read",
                where=str(ca_bundle),
                why=error.strerror or str(error),
                hint="name a PEM file with --ca-bundle or SSL_CERT_FILE",
            ) from None
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


@contextmanager
def _stumbling() -> Iterator[None]:
    """Turn a network having a bad day into ``_StumbleError``; certificates are never retried."""
    try:
        yield
    except httpx.TransportError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise Unavailable(
                "a registry's certificate is not trusted",
                why=str(error),
                hint="name your proxy's CA with --ca-bundle or SSL_CERT_FILE",
            ) from None
        raise _StumbleError(str(error) or type(error).__name__) from None


def _absent(answer: httpx.Response, url: str) -> bool:
    """Return whether the registry has no such file; raise for every other refusal."""
    status = answer.status_code
    if status in (404, 410):
        return True
    if status >= 500 or status in (408, 429):
        raise _StumbleError(f"HTTP status {status}")
    if status >= 400:
        raise Unavailable(f"{without_secrets(url)} was refused", why=f"HTTP status {status}")
    return False


def _continues(answer: httpx.Response, have: int) -> bool:
    start = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return answer.status_code == 206 and start is not None and int(start[1]) == have


def _local(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme in ("file", "copy") else None


def held(path: Path) -> int:
    """Return how many bytes a file has, none if it is not there."""
    return path.stat().st_size if path.is_file() else 0
