"""The way to a server: through which proxy, trusting whom, and as whom.

Decided for each request anew, so that a redirect to another host gets what is that host's.
"""

import ssl
import threading
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import httpx

from mlruntime.errors import Unavailable, UsageError
from mlruntime.host.settings import Sources, without_secrets
from mlruntime.host.settings.credentials import Login
from mlruntime.host.settings.proxies import Proxy

_PORTS = {"http": 80, "https": 443}


class Routes(httpx.BaseTransport):
    """Takes each request the way that the host's settings say; safe to use from many threads.

    The extension ``part`` of a request is the ecosystem that it is for.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._made: dict[tuple[str | None, bool], httpx.HTTPTransport] = {}
        self._guard = threading.Lock()
        # Report unusable settings before the first request.
        self._trust()

    def proxy(self, url: str, part: str | None) -> Proxy | None:
        """Return the proxy that an address is reached through."""
        return self._sources.network.proxies.of(url, part)

    def login(self, url: str, part: str | None) -> Login | None:
        """Return the login for an address; a keyring may have the password."""
        network = self._sources.network
        found = network.credentials.of(url, part)
        if found is None or found.password is not None or found.headers:
            return found
        passwords = (network.keyring(service, found.user) for service in found.services)
        return replace(found, password=next(filter(None, passwords), ""))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; see ``httpx.BaseTransport``."""
        url, part = str(request.url), request.extensions.get("part")
        if part == "pypi" and (offline := self._sources.network.offline):
            raise Unavailable(
                f"{offline} forbids access to the package index",
                where=without_secrets(url),
                hint="unset it, or point UV_DEFAULT_INDEX at an index on this disk (file:///…)",
            )
        transport = self._transport(request.url, self.proxy(url, part))
        if "Authorization" not in request.headers and (login := self.login(url, part)):
            # A copy: what a login adds must not go along to where a redirect leads.
            headers = request.headers.copy()
            headers.update(login.headers or (("Authorization", login.basic),))
            request = httpx.Request(
                request.method,
                request.url,
                headers=headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        return transport.handle_request(request)

    def close(self) -> None:
        """Close all connections."""
        for transport in self._made.values():
            transport.close()

    def _trust(self) -> ssl.SSLContext:
        network = self._sources.network
        return tls(self._sources.ca_bundle, network.ca_directories, network.client_certificate)

    def _transport(self, url: httpx.URL, proxy: Proxy | None) -> httpx.HTTPTransport:
        network = self._sources.network
        verified = network.verified(url.host, url.port or _PORTS.get(url.scheme, 0))
        key = (proxy.url if proxy else None, verified)
        with self._guard:
            if key not in self._made:
                trust = self._trust() if verified else _any(network.client_certificate)
                self._made[key] = httpx.HTTPTransport(verify=trust, proxy=_through(proxy, trust))
            return self._made[key]


def _through(proxy: Proxy | None, trust: ssl.SSLContext) -> httpx.Proxy | None:
    if proxy is None:
        return None
    return httpx.Proxy(proxy.url, ssl_context=trust if proxy.url.startswith("https:") else None)


@lru_cache
def tls(
    bundle: Path | None, directories: tuple[Path, ...] = (), certificate: Path | None = None
) -> ssl.SSLContext:
    """Return a context that trusts a bundle and directories, or the system when there are none.

    ``certificate`` is what this host shows of itself.
    """
    if bundle is None and not directories:
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
        return _showing(context, certificate)
    try:
        context = ssl.create_default_context(
            cafile=str(bundle) if bundle else None,
            capath=str(directories[0]) if directories else None,
        )
    except OSError as error:  # an SSLError is one
        raise UsageError(
            "the CA bundle has no readable certificates",
            where=str(bundle),
            why=error.strerror or str(error),
            hint="name a PEM file with --ca-bundle or SSL_CERT_FILE",
        ) from None
    for directory in directories:
        _trust_all(context, directory)
    return _showing(context, certificate)


def _trust_all(context: ssl.SSLContext, directory: Path) -> None:
    """Trust a directory: by its hashed names, and where it has none, by reading its files."""
    context.load_verify_locations(capath=str(directory))
    try:
        files = sorted(directory.iterdir())
    except OSError:  # OpenSSL skips files that it may not read, too
        return
    if any(path.suffix in (".0", ".1") for path in files):
        return
    for path in files:
        try:
            context.load_verify_locations(cafile=str(path))
        except OSError:  # a README, a key
            continue


def _any(certificate: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _showing(context, certificate)


def _showing(context: ssl.SSLContext, certificate: Path | None) -> ssl.SSLContext:
    if certificate is None:
        return context
    try:
        context.load_cert_chain(str(certificate))
    except OSError as error:
        raise UsageError(
            "the client certificate cannot be used",
            where=str(certificate),
            why=error.strerror or str(error),
            hint="SSL_CLIENT_CERT names a PEM file with a certificate and its key",
        ) from None
    return context
