"""What Maven is configured to use: a repository, its login, and proxies."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from packageurl.contrib import purl2url

from mlruntime.errors import Unavailable, UsageError
from mlruntime.host.secrets import without_secrets
from mlruntime.host.settings.credentials import Login, of_url
from mlruntime.host.settings.files import is_there
from mlruntime.host.settings.network import Found
from mlruntime.host.settings.proxies import Proxy, ProxyRules, proxy

_PROPERTY: Final = re.compile(r"-D((?:https?|javax\.net\.ssl)\.\w+)=['\"]?([^\s'\"]+)")
_SERVER_HINT: Final = "write the password as ${env.NAME}, or put it into ~/.netrc"


@dataclass(frozen=True, kw_only=True, slots=True)
class MavenSettings:
    """The repository's address without secrets, its login, and Maven's own proxies."""

    url: str
    logins: tuple[Login, ...] = ()
    rules: ProxyRules = field(default_factory=ProxyRules)
    found: tuple[Found, ...] = ()


def maven_files(home: Path, etc: Path) -> list[Path]:
    """Return the files that Maven reads, the user's first."""
    return [home / ".m2/settings.xml", etc / "maven/settings.xml"]


def maven_settings(environ: Mapping[str, str], home: Path, etc: Path) -> MavenSettings:
    """Read ``MLRUNTIME_MAVEN_REPOSITORY``, then Maven's ``settings.xml``: user's, then system's."""
    files = maven_files(home, etc)
    tops = [(path, _parsed(path, environ)) for path in files if is_there(path)]
    given, setting, name = environ.get("MLRUNTIME_MAVEN_REPOSITORY"), "", ""
    if given:
        setting = "MLRUNTIME_MAVEN_REPOSITORY"
    for path, top in tops:
        if not given and (found := _mirror(top) or _central(top)):
            (name, given), setting = found, str(path)
    url, own = of_url(given or str(purl2url.DEFAULT_MAVEN_REPOSITORY), setting, "maven")
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise UsageError(
            f"not a Maven repository's address: {without_secrets(url)}",
            hint="known: http://…, https://…, file:///…",
        )
    url = url.rstrip("/")
    servers = [entry for path, top in tops for entry in _server(top, name or "central", url, path)]
    rules = [*(_proxies(top, path) for path, top in tops), *map(_java, _options(environ))]
    shown = Found(setting=setting or "Maven's default", value=without_secrets(url))
    return MavenSettings(
        url=url,
        logins=(*own, *(login for login, _ in servers if login)),
        rules=next((r for r in rules if r.schemes), ProxyRules()),
        found=(shown, *(note for _, note in servers), *_java_found(environ)),
    )


def _options(environ: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the system properties that Java is given, by variable."""
    for variable in ("MAVEN_OPTS", "JAVA_TOOL_OPTIONS"):
        given = dict(_PROPERTY.findall(environ.get(variable, "")))
        if given:
            yield variable, given


def _java(options: tuple[str, dict[str, str]]) -> ProxyRules:
    """Return the proxies that Java's own properties name."""
    variable, given = options
    schemes = [
        (scheme, proxy(f"{given[f'{scheme}.proxyHost']}:{given.get(f'{scheme}.proxyPort', port)}",
                       f"{variable} ({scheme}.proxyHost)"))
        for scheme, port in (("http", "80"), ("https", "443"))
        if given.get(f"{scheme}.proxyHost")
    ]  # fmt: skip
    words = given.get("http.nonProxyHosts", "").split("|")
    return ProxyRules(schemes=tuple(schemes), exceptions=tuple(word for word in words if word))


def _java_found(environ: Mapping[str, str]) -> Iterator[Found]:
    for variable, given in _options(environ):
        if store := given.get("javax.net.ssl.trustStore"):
            hint = "name the authorities as PEM with --ca-bundle or SSL_CERT_FILE too"
            value = f"{store}: a key store of Java's is not read"
            yield Found(setting=variable, value=value, works=False, hint=hint)


def _parsed(path: Path, environ: Mapping[str, str]) -> ElementTree.Element:
    try:
        top = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise Unavailable(
            "Maven's settings cannot be read", where=str(path), why=str(error)
        ) from None
    for node in top.iter():
        if node.text and "${env." in node.text:
            node.text = re.sub(r"\$\{env\.([^}]+)\}", lambda m: environ.get(m[1], m[0]), node.text)
    return top


def _text(node: ElementTree.Element, name: str) -> str:
    return node.findtext(f"{{*}}{name}", "").strip()


def _mirror(top: ElementTree.Element) -> tuple[str, str] | None:
    """Return (id, URL) of the mirror that stands for the central repository, if any."""
    for mirror in top.iterfind(".//{*}mirror"):
        wanted = [word.strip() for word in _text(mirror, "mirrorOf").split(",")]
        covers = {"*", "external:*", "central"} & set(wanted)
        url = _text(mirror, "url")
        if url and covers and "!central" not in wanted and _text(mirror, "blocked") != "true":
            return _text(mirror, "id"), url
    return None


def _central(top: ElementTree.Element) -> tuple[str, str] | None:
    """Return the repository that an active profile puts in the place of ``central``."""
    active = {(node.text or "").strip() for node in top.iterfind(".//{*}activeProfile")}
    for profile in top.iterfind(".//{*}profile"):
        by_default = profile.findtext("{*}activation/{*}activeByDefault", "").strip() == "true"
        if _text(profile, "id") not in active and not by_default:
            continue
        for repository in profile.iterfind("{*}repositories/{*}repository"):
            if _text(repository, "id") == "central" and _text(repository, "url"):
                return "central", _text(repository, "url")
    return None


def _server(
    top: ElementTree.Element, name: str, url: str, path: Path
) -> Iterator[tuple[Login | None, Found]]:
    for server in top.iterfind(".//{*}server"):
        if _text(server, "id") != name:
            continue
        setting = f"server {name} in {path}"
        password = server.findtext("{*}password", "").strip()
        if re.fullmatch(r".*\{.+\}", password):
            why = "its password is encrypted, or names a variable that is not set"
            yield None, Found(setting=setting, value=why, works=False, hint=_SERVER_HINT)
            continue
        headers = tuple(
            (_text(node, "name"), _text(node, "value"))
            for node in server.iterfind(".//{*}httpHeaders/{*}property")
        )
        split = urlsplit(url)
        login = Login(
            host=(split.hostname or "").lower(),
            port=split.port,
            scheme=split.scheme,
            path=split.path,
            whole=True,
            user=_text(server, "username"),
            password=password,
            headers=headers,
            setting=setting,
            part="maven",
        )
        yield login, Found(setting=setting, value=f"a login for {without_secrets(url)}")


def _proxies(top: ElementTree.Element, path: Path) -> ProxyRules:
    """Return the first active proxy; Maven uses it for both schemes."""
    for node in top.iterfind(".//{*}proxies/{*}proxy"):
        if _text(node, "active") == "false" or not _text(node, "host"):
            continue
        user, password = _text(node, "username"), _text(node, "password")
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
        address = f"http://{login}{_text(node, 'host')}:{_text(node, 'port') or '8080'}"
        found = Proxy(url=address, setting=f"proxy in {path}")
        exceptions = [word for word in re.split(r"[|,\s]+", _text(node, "nonProxyHosts")) if word]
        return ProxyRules(schemes=(("http", found), ("https", found)), exceptions=tuple(exceptions))
    return ProxyRules()
