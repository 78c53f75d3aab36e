"""How apt is told to reach archives: the host's settings, in files that only we can read."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from mlruntime.host.settings import DEBIAN_HINT, Sources
from mlruntime.host.settings.proxies import Proxy


def apt_lines(sources: Sources, root: Path) -> list[str]:
    """Return lines of apt's configuration: proxies, certificates, time limits.

    ``root`` is where a bundle is written when authorities are in directories. Raises
    ``Unavailable`` when a setting names a proxy that nothing can go through.
    """
    network, settings = sources.network, {}
    for scheme in ("http", "https"):
        if (proxy := network.proxies.named(scheme, "debian")) is not None:
            settings[f"Acquire::{scheme}::Proxy"] = _address(proxy.usable())
    for source in sources.debian:
        split = urlsplit(source.uri)
        if split.scheme not in ("http", "https") or not split.hostname:
            continue
        proxy = network.proxies.of(source.uri, "debian")
        settings[f"Acquire::{split.scheme}::Proxy::{split.hostname}"] = (
            _address(proxy) if proxy else "DIRECT"
        )
        if not network.verified(split.hostname, split.port or 443):
            settings[f"Acquire::https::{split.hostname}::Verify-Peer"] = "false"
            settings[f"Acquire::https::{split.hostname}::Verify-Host"] = "false"
    if (bundle := _bundle(sources, root)) is not None:
        settings["Acquire::https::CAInfo"] = str(bundle)
    if network.client_certificate:
        settings["Acquire::https::SslCert"] = str(network.client_certificate)
        settings["Acquire::https::SslKey"] = str(network.client_certificate)
    if network.timeout:
        for scheme in ("http", "https"):
            settings[f"Acquire::{scheme}::Timeout"] = str(max(1, round(network.timeout)))
    return [f'{key} "{value}";' for key, value in settings.items()]


def advice(why: str, sources: Sources) -> str:
    """Return what to try when apt could not read the archives, by what it said."""
    files = ", ".join(sorted({source.setting for source in sources.debian if source.setting}))
    where = f" in {files}" if files else ""
    if "is expired" in why:
        return (
            f"an archive of the past, a snapshot say, needs `Check-Valid-Until: no`{where};"
            " a mirror that is behind needs mending"
        )
    if re.search(r"\b401\b", why):
        return f"put a login for the archive into /etc/apt/auth.conf.d/ or ~/.netrc ({files})"
    if re.search(r"\b407\b", why):
        return "put the proxy's user name and password into the setting that names it"
    if "ertificate" in why:
        return "name your proxy's CA with --ca-bundle or SSL_CERT_FILE"
    proxies = {sources.network.proxies.of(source.uri, "debian") for source in sources.debian}
    if "onnect" in why and (named := sorted(str(proxy) for proxy in proxies if proxy)):
        return f"check the proxy {', '.join(named)}, or leave the archives out with NO_PROXY"
    if "NO_PUBKEY" in why or "not signed" in why:
        return f"name the archive's keyring with `Signed-By:`{where}"
    return DEBIAN_HINT


def _address(proxy: Proxy) -> str:
    """Return a proxy as apt has it: of the SOCKS kinds it knows one."""
    return re.sub("^socks5:", "socks5h:", proxy.url)


def apt_logins(sources: Sources) -> str:
    """Return the logins of the archives in the form of apt_auth.conf(5)."""
    lines = []
    for uri in dict.fromkeys(source.uri for source in sources.debian):
        login = sources.network.credentials.of(uri, "debian")
        if login is not None and login.user and not any(c.isspace() for c in login.user):
            lines.append(f"machine {uri}/ login {login.user} password {login.password or ''}")
    return "\n".join(lines) + "\n"


def apt_environ(sources: Sources) -> dict[str, str]:
    """Return the variables that apt gets: which hosts a redirect reaches without a proxy."""
    entries = sources.network.proxies.exceptions("debian")
    return {"no_proxy": ",".join(entries)} if entries else {}


def _bundle(sources: Sources, root: Path) -> Path | None:
    directories = sources.network.ca_directories
    if not directories:
        return sources.ca_bundle
    files = [sources.ca_bundle] if sources.ca_bundle else []
    files += [path for folder in directories for path in sorted(folder.iterdir())]
    pems = {text for path in files if (text := _pem(path))}
    bundle = root / "authorities.pem"
    bundle.write_text("\n".join(sorted(pems)), encoding="utf-8")
    return bundle


def _pem(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return ""
    return text if "BEGIN CERTIFICATE" in text or "BEGIN TRUSTED CERTIFICATE" in text else ""
