"""How uv is told to reach the indexes: by its variables, so that no password is in its arguments.

What uv would choose for itself (resolution, other indexes, its files) does not reach it; how it
connects is what the host's settings say, as for every other part.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mlruntime.host.settings import Sources

# uv's and pip's own settings that reach uv as they are.
_KEPT: Final = ("UV_CACHE_DIR", "UV_HTTP_RETRIES")
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_DECIDED: Final = frozenset(
    {*_PROXIES, *map(str.upper, _PROXIES), "SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT"}
)


def uv_words(sources: Sources) -> list[str]:
    """Return the indexes as uv takes them, each with the name that its login is given under."""
    return [f"{_name(number)}={url}" for number, url in enumerate(sources.indexes)]


def uv_environ(environ: Mapping[str, str], sources: Sources) -> dict[str, str]:
    """Return the environment that uv gets.

    Raises ``Unavailable`` when a setting names a proxy that nothing can go through.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name in _KEPT or not (name.startswith(("UV_", "PIP_")) or name in _DECIDED)
    }
    return (
        kept
        | _proxies(sources)
        | _trust(sources)
        | _logins(sources)
        | {"UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
    )


def _name(number: int) -> str:
    return f"index{number}"


def _logins(sources: Sources) -> dict[str, str]:
    network, found = sources.network, {}
    for number, url in enumerate(sources.indexes):
        login = network.credentials.of(url, "pypi")
        if login is None:
            continue
        stem = f"UV_INDEX_{_name(number).upper()}"
        found[f"{stem}_USERNAME"] = login.user
        if login.password is not None:
            found[f"{stem}_PASSWORD"] = login.password
    if network.credentials.keyring:
        found["UV_KEYRING_PROVIDER"] = "subprocess"
    return found


def _proxies(sources: Sources) -> dict[str, str]:
    proxies = sources.network.proxies
    found = {}
    for scheme in ("http", "https"):
        proxy = proxies.named(scheme, "pypi")
        if proxy is not None:
            found[f"{scheme}_proxy"] = proxy.usable().url
    if not found:
        return {}
    # What uv's own matcher may read otherwise (a port, say) is decided here for the indexes.
    direct = [urlsplit(u).hostname or "" for u in sources.indexes if not proxies.of(u, "pypi")]
    entries = dict.fromkeys((*proxies.exceptions("pypi"), *filter(None, direct)))
    return found | ({"no_proxy": ",".join(entries)} if entries else {})


def _trust(sources: Sources) -> dict[str, str]:
    network, found = sources.network, {}
    if sources.ca_bundle:
        found["SSL_CERT_FILE"] = str(sources.ca_bundle)
    if network.ca_directories:
        found["SSL_CERT_DIR"] = ":".join(map(str, network.ca_directories))
    if not found and _system_has_authorities():
        found["UV_SYSTEM_CERTS"] = "true"
    if network.client_certificate:
        found["SSL_CLIENT_CERT"] = str(network.client_certificate)
    if network.insecure:
        found["UV_INSECURE_HOST"] = " ".join(network.insecure)
    if network.offline:
        found["UV_OFFLINE"] = "1"
    if network.timeout:
        found["UV_HTTP_TIMEOUT"] = str(max(1, round(network.timeout)))
    return found


def _system_has_authorities() -> bool:
    paths = ssl.get_default_verify_paths()
    return any(path and Path(path).exists() for path in (paths.cafile, paths.capath))
