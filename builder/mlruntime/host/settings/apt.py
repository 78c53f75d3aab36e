"""How apt reaches archives: its ``Acquire::…``, as ``apt-config dump`` prints them."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mlruntime.host.secrets import redacted
from mlruntime.host.settings.files import is_there, listed
from mlruntime.host.settings.network import Found
from mlruntime.host.settings.proxies import Proxy, ProxyRules, proxy

_LINE: Final = re.compile(r'Acquire::(https?)::(\S+) "([^"]+)";')
# What it says of archives whatever their scheme: how old they may be, and which IP is spoken.
OF_ANY_SCHEME: Final = r"Acquire::(?:Check-Valid-Until|M(?:ax|in)-ValidTime(?:::\S+)?|ForceIPv[46])"
_OF_ANY: Final = re.compile(rf'^({OF_ANY_SCHEME}) "([^"]+)";', re.MULTILINE)
_MENTIONS: Final = re.compile(r"Acquire", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class AptSettings:
    """apt's proxies, by scheme and by host, and what else it says that downloads do not follow."""

    rules: ProxyRules = field(default_factory=ProxyRules)
    found: tuple[Found, ...] = ()


def mentions(etc: Path) -> bool:
    """Return whether a file of apt's configuration may say how archives are reached."""
    files = [etc / "apt/apt.conf", *listed(etc / "apt/apt.conf.d", "*")]
    for path in files:
        try:
            if is_there(path) and _MENTIONS.search(path.read_text(errors="replace")):
                return True
        except OSError:
            continue
    return False


def apt_settings(dump: str) -> AptSettings:
    """Read what ``apt-config dump`` printed."""
    schemes: list[tuple[str, Proxy]] = []
    hosts: list[tuple[str, Proxy | None]] = []
    found: list[Found] = []
    for scheme, key, value in _LINE.findall(dump):
        setting = f"Acquire::{scheme}::{key}"
        if key == "Proxy":
            if value.upper() != "DIRECT":
                schemes.append((scheme, proxy(value, setting)))
        elif key.startswith("Proxy::"):
            host = key.removeprefix("Proxy::").lower()
            hosts.append((host, None if value.upper() == "DIRECT" else proxy(value, setting)))
            found.append(Found(setting=setting, value=redacted(value)))
        elif key.lower() in ("proxy-auto-detect", "proxyautodetect"):
            hint = "set Acquire::http::Proxy or http_proxy: only apt runs this program"
            found.append(Found(setting=setting, value=value, works=False, hint=hint))
        else:
            found.append(Found(setting=setting, value=f"{redacted(value)} (apt alone)"))
    found += [
        Found(setting=setting, value=f"{value} (apt alone)")
        for setting, value in _OF_ANY.findall(dump)
    ]
    by_scheme = dict(schemes)
    if "http" in by_scheme and "https" not in by_scheme:  # apt's https follows http's settings
        schemes.append(("https", by_scheme["http"]))
    return AptSettings(
        rules=ProxyRules(schemes=tuple(schemes), hosts=tuple(hosts)), found=tuple(found)
    )
