"""Where this host's own clients get packages: the only place that knows a registry's address.

A lock names no host. What pip, uv, apt and Maven are configured to use on this host is what we
use; where nothing is configured, the default is the one that the client libraries carry.
"""

import configparser
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from xml.etree import ElementTree

from debian.deb822 import Deb822
from packageurl.contrib import purl2url

from mlruntime.errors import Unavailable, UsageError

CA_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
DEBIAN_HINT = (
    "point MLRUNTIME_DEBIAN_SOURCES at a deb822 .sources file that names a Debian mirror,"
    " its suites and its keyring"
)
_PARTS = ("", "-updates", "-security")


@dataclass(frozen=True, kw_only=True, slots=True)
class DebianSource:
    """One archive that apt uses: ``part`` is its suite without the release (``-security``).

    ``signed_by`` is what apt's option of that name holds: a keyring's path, a key, or nothing.
    """

    uri: str
    part: str
    signed_by: str | None
    trusted: bool = False

    def entry(self, codename: str, areas: tuple[str, ...] = ("main",)) -> str:
        """Return the deb822 stanza that makes apt read areas of this archive for one release."""
        lines = [
            "Types: deb",
            f"URIs: {self.uri}",
            f"Suites: {codename}{self.part}",
            f"Components: {' '.join(areas)}",
        ]
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        if self.trusted:
            lines.append("Trusted: yes")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The registries of one host.

    ``indexes`` are PEP 503 indexes, the default one last; ``maven`` is a repository in Maven's
    layout (``https:`` or ``file:``); ``debian`` may be empty on a host without apt.
    """

    indexes: tuple[str, ...]
    maven: str
    debian: tuple[DebianSource, ...]
    ca_bundle: Path | None = None

    def debian_uris(self, suite: str) -> tuple[str, ...]:
        """Return the archives that may hold a file of a suite, the likeliest first."""
        part = suite_part(suite)
        ranked = sorted(self.debian, key=lambda source: source.part != part)
        return tuple(dict.fromkeys(source.uri for source in ranked))


def discover(
    environ: Mapping[str, str],
    *,
    home: Path,
    etc: Path = Path("/etc"),
    ca_bundle: Path | None = None,
) -> Sources:
    """Read the host's client configuration.

    ``ca_bundle`` (from the command line) goes before the environment's variables. Raises
    ``UsageError`` when a file that was named is not there.
    """
    return Sources(
        indexes=_indexes(environ, home, etc),
        maven=_maven(environ, home),
        debian=tuple(_debian(environ, etc)),
        ca_bundle=_ca_bundle(environ, ca_bundle),
    )


def suite_part(suite: str) -> str:
    """Return ``-security`` of ``bookworm-security``; nothing of ``bookworm``."""
    return next((part for part in _PARTS[1:] if suite.endswith(part)), "")


def without_secrets(url: str) -> str:
    """Return a URL as it may be shown: no user name, password or query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _ca_bundle(environ: Mapping[str, str], given: Path | None) -> Path | None:
    named = [("--ca-bundle", given)] if given else []
    named += [(name, Path(environ[name])) for name in CA_VARIABLES if environ.get(name)]
    for name, path in named:
        if not path or not path.is_file():
            raise UsageError(f"{name} names a file that is not there: {path}")
        return path
    return None


def _indexes(environ: Mapping[str, str], home: Path, etc: Path) -> tuple[str, ...]:
    """Return the extra indexes, then the default one; uv's settings go before pip's."""
    default = next(
        (environ[v] for v in ("UV_DEFAULT_INDEX", "UV_INDEX_URL") if environ.get(v)), None
    )
    extra = f"{environ.get('UV_INDEX', '')} {environ.get('UV_EXTRA_INDEX_URL', '')}".split()
    if default is None:
        default, found = _uv_file(environ, home, etc)
        extra += found
    default = default or environ.get("PIP_INDEX_URL")
    extra += environ.get("PIP_EXTRA_INDEX_URL", "").split()
    if default is None:
        default, found = _pip_files(environ, home, etc)
        extra += found
    from pypi_simple import PYPI_SIMPLE_ENDPOINT  # half a second to import

    named = [_unnamed(url) for url in (*extra, default or PYPI_SIMPLE_ENDPOINT)]
    return tuple(url.rstrip("/") + "/" for url in dict.fromkeys(named))


def _unnamed(url: str) -> str:
    """Drop the name that uv allows before an index's address (``name=https://…``)."""
    return re.sub(r"^[A-Za-z0-9_.-]+=(?=https?://)", "", url)


def _uv_file(environ: Mapping[str, str], home: Path, etc: Path) -> tuple[str | None, list[str]]:
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    default, extra = None, []
    for path in (config / "uv/uv.toml", etc / "uv/uv.toml"):
        if not path.is_file():
            continue
        try:
            settings: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise Unavailable(
                "uv's settings cannot be read", where=str(path), why=str(error)
            ) from None
        default = default or settings.get("index-url")
        extra += settings.get("extra-index-url", [])
        for index in settings.get("index", []):
            if index.get("default"):
                default = default or index["url"]
            elif not index.get("explicit"):
                extra.append(index["url"])
    return default, extra


def _pip_files(environ: Mapping[str, str], home: Path, etc: Path) -> tuple[str | None, list[str]]:
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [
        etc / "pip.conf",
        etc / "xdg/pip/pip.conf",
        home / ".pip/pip.conf",
        config / "pip/pip.conf",
    ]
    if environ.get("PIP_CONFIG_FILE"):
        files.append(Path(environ["PIP_CONFIG_FILE"]))
    parser = configparser.RawConfigParser()
    try:
        parser.read([path for path in files if path.is_file()], encoding="utf-8")
    except configparser.Error as error:
        raise Unavailable("pip's settings cannot be read", why=str(error)) from None
    default = parser.get("global", "index-url", fallback=None)
    return default, parser.get("global", "extra-index-url", fallback="").split()


def _maven(environ: Mapping[str, str], home: Path) -> str:
    given = environ.get("MLRUNTIME_MAVEN_REPOSITORY") or _maven_mirror(home / ".m2/settings.xml")
    url = given or str(purl2url.DEFAULT_MAVEN_REPOSITORY)
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise UsageError(
            f"not a Maven repository's address: {url}", hint="known: http://…, https://…, file:///…"
        )
    return url.rstrip("/")


def _maven_mirror(settings: Path) -> str | None:
    """Return the mirror that Maven's settings give for the central repository, if any."""
    if not settings.is_file():
        return None
    try:
        top = ElementTree.parse(settings).getroot()
    except ElementTree.ParseError as error:
        raise Unavailable(
            "Maven's settings cannot be read", where=str(settings), why=str(error)
        ) from None
    for mirror in top.iterfind(".//{*}mirror"):
        wanted = [word.strip() for word in mirror.findtext("{*}mirrorOf", "").split(",")]
        url = mirror.findtext("{*}url", "").strip()
        covers = {"*", "external:*", "central"} & set(wanted)
        if url and covers and "!central" not in wanted and mirror.findtext("{*}blocked") != "true":
            return url
    return None


def _debian(environ: Mapping[str, str], etc: Path) -> Iterator[DebianSource]:
    """Yield the archives that serve Debian's own ``main`` to this host."""
    given = environ.get("MLRUNTIME_DEBIAN_SOURCES")
    if given:
        path = Path(given)
        if not path.is_file():
            raise UsageError(f"MLRUNTIME_DEBIAN_SOURCES names a file that is not there: {given}")
        yield from _deb822(path.read_text(encoding="utf-8"), None)
        return
    release = _os_release(etc / "os-release")
    if release.get("ID") != "debian":
        return
    codename = release.get("VERSION_CODENAME", "")
    for path in (etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*.list"))):
        if path.is_file():
            yield from _one_line(path.read_text(encoding="utf-8"), codename)
    for path in sorted((etc / "apt/sources.list.d").glob("*.sources")):
        yield from _deb822(path.read_text(encoding="utf-8"), codename)


def _os_release(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key: value.strip().strip("\"'") for key, value in pairs}


def _kept(suites: list[str], components: list[str], codename: str | None) -> Iterator[str]:
    """Yield the part of each suite that belongs to the host's release.

    That is what tells Debian's archive from a vendor's in the same directory: a vendor's suites
    are not called ``bookworm-security``.
    """
    if "main" not in components:
        return
    for suite in suites:
        part = suite_part(suite)
        release = suite.removesuffix(part)
        if codename is None or release in (
            codename,
            "stable",
            "oldstable",
            "testing",
            "unstable",
            "sid",
        ):
            yield part


def _deb822(text: str, codename: str | None) -> Iterator[DebianSource]:
    for stanza in Deb822.iter_paragraphs(text, use_apt_pkg=False):
        if "deb" not in stanza.get("Types", "").split() or stanza.get("Enabled", "yes") == "no":
            continue
        suites, components = stanza.get("Suites", "").split(), stanza.get("Components", "").split()
        for part in _kept(suites, components, codename):
            for uri in stanza.get("URIs", "").split():
                yield DebianSource(
                    uri=uri.rstrip("/"),
                    part=part,
                    signed_by=stanza.get("Signed-By"),
                    trusted=stanza.get("Trusted", "no") == "yes",
                )


def _one_line(text: str, codename: str) -> Iterator[DebianSource]:
    pattern = re.compile(
        r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<rest>.+)"
    )
    for line in text.splitlines():
        match = pattern.fullmatch(line.partition("#")[0].strip())
        if not match:
            continue
        options = dict(
            word.split("=", 1) for word in (match["options"] or "").split() if "=" in word
        )
        for part in _kept([match["suite"]], match["rest"].split(), codename):
            yield DebianSource(
                uri=match["uri"].rstrip("/"),
                part=part,
                signed_by=options.get("signed-by"),
                trusted=options.get("trusted") == "yes",
            )
