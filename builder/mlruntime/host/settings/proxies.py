"""Which proxy an address is reached through: one rule for every part of the tool.

Read as curl and uv read it: the lower-case variable goes before the upper-case one, a proxy
without a scheme is an HTTP proxy, and ``NO_PROXY`` has names, suffixes, addresses, networks and
ports.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from mlruntime.errors import Unavailable
from mlruntime.host.secrets import without_secrets

_PORTS: Final = {"http": 80, "https": 443}
# `socks` is what desktops write for a SOCKS 5 proxy; names are resolved by the proxy.
_SCHEMES: Final = {
    "http": "http",
    "https": "https",
    "socks": "socks5h",
    "socks5": "socks5",
    "socks5h": "socks5h",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Proxy:
    """A proxy, and the setting that names it; ``url`` may hold a password."""

    url: str = field(repr=False)
    setting: str

    def __str__(self) -> str:
        return f"{without_secrets(self.url)} (from {self.setting})"

    @property
    def trouble(self) -> str | None:
        """Return why no connection can be made through it; ``None`` when one can."""
        try:
            parts = urlsplit(self.url)
            if parts.scheme not in _SCHEMES:
                return f"proxies of the kind {parts.scheme!r} are not supported"
            if parts.hostname and parts.port != 0:
                return None
        except ValueError as error:
            return str(error)
        return "it names no host"

    def usable(self) -> "Proxy":
        """Return it under its scheme's usual name, or raise ``Unavailable``."""
        if (why := self.trouble) is not None:
            raise Unavailable(
                f"{self.setting} names a proxy that cannot be used",
                where=without_secrets(self.url),
                why=why,
                hint="http://, https://, socks5:// and socks5h:// are known; unset it to go direct",
            )
        scheme, _, rest = self.url.partition("://")
        return Proxy(url=f"{_SCHEMES[scheme.lower()]}://{rest}", setting=self.setting)


def proxy(value: str, setting: str) -> Proxy:
    """Return the proxy that a setting's value names; without a scheme it is an HTTP proxy."""
    text = value.strip()
    return Proxy(url=text if "://" in text else f"http://{text}", setting=setting)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProxyRules:
    """Where one client goes through: a proxy by scheme, and hosts reached directly.

    ``hosts`` has proxies of single hosts (apt's ``Acquire::http::Proxy::HOST``); ``None`` there
    is a direct connection.
    """

    schemes: tuple[tuple[str, Proxy], ...] = ()
    exceptions: tuple[str, ...] = ()
    hosts: tuple[tuple[str, Proxy | None], ...] = ()

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """Return the proxies of all schemes, each once."""
        return tuple(dict.fromkeys(proxy for _, proxy in self.schemes))

    def of(self, scheme: str, host: str) -> tuple[bool, Proxy | None]:
        """Return whether these rules decide about a host, and what."""
        own = dict(self.hosts)
        if host in own:
            return True, own[host]
        by_scheme = dict(self.schemes)
        found = by_scheme.get(scheme) or by_scheme.get("all")
        return found is not None, found


@dataclass(frozen=True, kw_only=True, slots=True)
class Proxies:
    """The environment's rules, and those that a part's own client has beside them.

    ``later`` has rules that take a process to find out; they are asked for when they are needed.
    """

    environment: ProxyRules = field(default_factory=ProxyRules)
    parts: tuple[tuple[str, ProxyRules], ...] = ()
    later: tuple[tuple[str, Callable[[], ProxyRules]], ...] = ()

    def of(self, url: str, part: str | None = None) -> Proxy | None:
        """Return the proxy for an address, ``None`` for a direct connection.

        Raises ``Unavailable``, with the setting's name, for one that nothing can go through.
        """
        split = urlsplit(url)
        scheme, host = split.scheme, (split.hostname or "").lower()
        if scheme not in _PORTS or not host:
            return None
        port = split.port or _PORTS[scheme]
        rules = self._own(part)
        if any(matches(entry, host, port) for entry in self.exceptions(part)):
            return None
        decided, found = rules.of(scheme, host)
        if not decided:
            _, found = self.environment.of(scheme, host)
        return found.usable() if found else None

    def named(self, scheme: str, part: str | None = None) -> Proxy | None:
        """Return the proxy of a scheme, for hosts that nothing else is said about."""
        rules = self._own(part)
        return rules.of(scheme, "")[1] or self.environment.of(scheme, "")[1]

    def exceptions(self, part: str | None = None) -> tuple[str, ...]:
        """Return the hosts that are reached directly: the environment's hold for every part."""
        return (*self._own(part).exceptions, *self.environment.exceptions)

    def _own(self, part: str | None) -> ProxyRules:
        read = dict(self.later).get(part or "")
        return read() if read else dict(self.parts).get(part or "", ProxyRules())


def matches(entry: str, host: str, port: int) -> bool:
    """Return whether an entry of ``NO_PROXY`` names a host: as curl and uv do, ports included."""
    entry = entry.strip().lower()
    if entry == "*":
        return True
    name, wanted = _parted(entry)
    if not name or (wanted is not None and wanted != port):
        return False
    bare = host.strip("[]").rstrip(".").lower()
    if "*" in name:  # Maven's `127.*`, and `*.example.com`
        return fnmatchcase(bare, name) or bare == name.removeprefix("*.")
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        suffix = name.strip(".")
        return bool(suffix) and (bare == suffix or bare.endswith(f".{suffix}"))
    try:
        network = ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address in network or (mapped is not None and mapped in network)


def _parted(entry: str) -> tuple[str, int | None]:
    """Split the port off ``host:8080`` and ``[::1]:8080``; an IPv6 address keeps its colons."""
    if match := re.fullmatch(r"\[([^\]]+)\](/\d+)?(?::(\d+))?", entry):
        return match[1] + (match[2] or ""), int(match[3]) if match[3] else None
    if match := re.fullmatch(r"([^:]+):(\d+)", entry):
        return match[1], int(match[2])
    return entry, None


def excepted(text: str) -> tuple[str, ...]:
    """Return the entries of a list of exceptions: commas and blanks part them."""
    return tuple(re.split(r"[,\s]+", text.strip(" ,\t\n"))) if text.strip(" ,\t\n") else ()


def environment(environ: Mapping[str, str]) -> ProxyRules:
    """Return what the environment's variables say.

    A web server's ``HTTP_PROXY`` (it comes from a request's header) is not believed.
    """
    schemes = []
    for scheme in ("http", "https", "all"):
        for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY"):
            if name == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
                continue
            # An empty lower-case variable switches the upper-case one off, as with curl.
            if name in environ:
                if environ[name].strip():
                    schemes.append((scheme, proxy(environ[name], name)))
                break
    named = next((environ[n] for n in ("no_proxy", "NO_PROXY") if n in environ), "")
    return ProxyRules(schemes=tuple(schemes), exceptions=excepted(named))
