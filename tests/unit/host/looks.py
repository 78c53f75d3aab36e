"""What a setting of a host changes: in what downloads go by, and in what uv and apt are told."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mlruntime.ecosystems.debian.reach import apt_environ, apt_lines, apt_logins
from mlruntime.ecosystems.pypi.reach import uv_environ
from mlruntime.host.settings import Sources
from mlruntime.host.settings.table import Part

PARTS: Final[tuple[Part, ...]] = ("Debian", "PyPI", "Maven")
PROXY: Final = "http://p.example:3128"
# Where each part's packages are, unless a case is about that.
ADDRESSES: Final[dict[Part, str]] = {
    "Debian": "https://h.example/debian",
    "PyPI": "https://h.example/simple/",
    "Maven": "https://h.example/maven",
}
NOWHERE: Final = {
    "UV_DEFAULT_INDEX": ADDRESSES["PyPI"],
    "MLRUNTIME_MAVEN_REPOSITORY": ADDRESSES["Maven"],
    "MLRUNTIME_DEBIAN_SOURCES": "{root}/h.sources",
}
SOURCES: Final = "Types: deb\nURIs: {}\nSuites: bookworm\nComponents: main\n"
LOGIN: Final = ("user", "hunter2")


@dataclass(frozen=True)
class Host:
    """The settings of one host, and what they make of uv's and apt's."""

    sources: Sources
    root: Path

    @property
    def uv(self) -> Mapping[str, str]:
        return uv_environ({}, self.sources)

    @property
    def apt(self) -> Mapping[str, str]:
        lines = (line.rstrip(";").split(" ", 1) for line in apt_lines(self.sources, self.root))
        return {key: value.strip('"') for key, value in lines}


Look = Callable[[Host, Part], Any]


@dataclass(frozen=True)
class Case:
    """A name of a row, a host on which it is set, and what the row's parts then see."""

    row: str
    name: str
    look: Look
    value: Any
    environ: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=lambda: NOWHERE)
    bundle: str = ""


# What is looked at, for a part. `same` holds uv and apt to what downloads do.


def same(host: Host, part: Part, value: Any, *, uv: Any = None, apt: Any = None) -> Any:
    told = {"PyPI": uv, "Debian": apt}.get(part)
    if value and told is not None:
        assert told(host) == value, (part, told(host), value)
    return value


def proxy(scheme: str) -> Look:
    def socks(url: str | None) -> str | None:  # apt knows one of the two kinds
        return url and re.sub("^socks5:", "socks5h:", url)

    def look(host: Host, part: Part) -> str | None:
        found = host.sources.network.proxies.of(f"{scheme}://any.example/x", part.lower())
        return same(
            host, part, socks(found.url if found else None),
            uv=lambda h: socks(h.uv[f"{scheme}_proxy"]),
            apt=lambda h: h.apt[f"Acquire::{scheme}::Proxy"],
        )  # fmt: skip

    return look


def direct(url: str) -> Look:
    def look(host: Host, part: Part) -> bool:
        proxies = host.sources.network.proxies
        value = bool(proxies.named("http", part.lower())) and not proxies.of(url, part.lower())
        return bool(
            same(host, part, value,
                 uv=lambda h: any(h.uv["no_proxy"].split(",")),
                 apt=lambda h: any(apt_environ(h.sources)["no_proxy"].split(",")))
        )  # fmt: skip

    return look


def trusted(host: Host, part: Part) -> str | None:
    bundle = host.sources.ca_bundle
    value = bundle and bundle.name
    return same(
        host, part, value,
        uv=lambda h: Path(h.uv["SSL_CERT_FILE"]).name,
        apt=lambda h: Path(h.apt["Acquire::https::CAInfo"]).name,
    )  # fmt: skip


def trusted_directories(host: Host, part: Part) -> bool:
    value = [path.name for path in host.sources.network.ca_directories] == ["authorities"]
    return bool(
        same(host, part, value,
             uv=lambda h: h.uv["SSL_CERT_DIR"].endswith("/authorities"),
             apt=lambda h: "CERTIFICATE" in Path(h.apt["Acquire::https::CAInfo"]).read_text())
    )  # fmt: skip


def shown(host: Host, part: Part) -> str | None:
    certificate = host.sources.network.client_certificate
    return same(
        host, part, certificate and certificate.name,
        uv=lambda h: Path(h.uv["SSL_CLIENT_CERT"]).name,
        apt=lambda h: Path(h.apt["Acquire::https::SslCert"]).name,
    )  # fmt: skip


def unchecked(host: Host, part: Part) -> bool:
    return bool(
        same(host, part, not host.sources.network.verified("h.example", 443),
             uv=lambda h: "h.example" in h.uv["UV_INSECURE_HOST"].split(),
             apt=lambda h: h.apt["Acquire::https::h.example::Verify-Peer"] == "false")
    )  # fmt: skip


def patience(host: Host, part: Part) -> float | None:
    return same(
        host, part, host.sources.network.timeout,
        uv=lambda h: float(h.uv["UV_HTTP_TIMEOUT"]),
        apt=lambda h: float(h.apt["Acquire::http::Timeout"]),
    )  # fmt: skip


def login(host: Host, part: Part) -> tuple[str, str | None] | None:
    sources = host.sources
    url = {"Maven": sources.maven, "PyPI": sources.indexes[-1]}.get(part, ADDRESSES["Debian"])
    found = sources.network.credentials.of(url, part.lower())
    return same(
        host, part, found and (found.user, found.password),
        uv=lambda h: (h.uv["UV_INDEX_INDEX0_USERNAME"], h.uv.get("UV_INDEX_INDEX0_PASSWORD")),
        apt=lambda h: tuple(apt_logins(h.sources).split()[3::2]),
    )  # fmt: skip


def headers(host: Host, part: Part) -> Any:
    found = host.sources.network.credentials.of(host.sources.maven, part.lower())
    return found and found.headers


def index(host: Host, part: Part) -> str | None:
    return host.sources.indexes[0] if part == "PyPI" else None


def keyring(host: Host, part: Part) -> bool:
    asked = host.sources.network.credentials.keyring is not None and part == "PyPI"
    return bool(same(host, part, asked, uv=lambda h: h.uv["UV_KEYRING_PROVIDER"] == "subprocess"))


def offline(host: Host, part: Part) -> bool:
    forbidden = host.sources.network.offline is not None and part == "PyPI"
    return bool(same(host, part, forbidden, uv=lambda h: h.uv["UV_OFFLINE"] == "1"))


def repository(host: Host, part: Part) -> str | None:
    return host.sources.maven if part == "Maven" else None


def archive(host: Host, part: Part) -> Any:
    if part != "Debian" or not host.sources.debian:
        return None
    (found,) = host.sources.debian
    return found.uri, found.signed_by, found.trusted, dict(found.options)


def past(host: Host, part: Part) -> Any:
    return host.sources.debian_uris("bookworm")[-1] if part == "Debian" else None
