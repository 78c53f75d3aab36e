"""What was read of this host's settings, one line each, as ``doctor`` shows it. No passwords."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mlruntime.host.secrets import without_secrets
from mlruntime.host.settings.credentials import Login
from mlruntime.host.settings.debian import AptSource
from mlruntime.host.settings.network import Found
from mlruntime.host.settings.proxies import Proxies, Proxy
from mlruntime.host.settings.python import PythonSettings


def proxies_found(proxies: Proxies) -> list[Found]:
    """The proxies of every part, and what goes past them."""
    found: list[Found] = []
    for rules in (proxies.environment, *(rules for _, rules in proxies.parts)):
        found += map(proxy_found, rules.proxies)
    exceptions = proxies.environment.exceptions
    if exceptions:
        found.append(Found(setting="NO_PROXY", value=",".join(exceptions)))
    return found


def proxy_found(proxy: Proxy) -> Found:
    """One proxy; one that cannot be used is told."""
    why = proxy.trouble
    return Found(
        setting=proxy.setting,
        value=without_secrets(proxy.url) + (f": {why}" if why else ""),
        works=not why,
        needed=bool(why),
        hint="use http://, https://, socks5:// or socks5h://" if why else None,
    )


def trust_found(
    setting: str | None, bundle: Path | None, directories: tuple[Path, ...]
) -> list[Found]:
    """Which authorities are trusted."""
    found = [Found(setting=setting, value=str(bundle))] if setting and bundle else []
    return found + [Found(setting="SSL_CERT_DIR", value=str(path)) for path in directories]


def client_found(python: PythonSettings) -> list[Found]:
    """The certificate that this client shows."""
    return [Found(setting=setting, value=value) for setting, value in python.client_cert[:1]]


def debian_found(debian: tuple[AptSource, ...]) -> list[Found]:
    """The Debian archives, with their options."""
    found = []
    for source in debian:
        told = ", ".join(f"{name}: {value}" for name, value in source.options)
        value = without_secrets(source.uri) + (f" ({told})" if told else "")
        found.append(Found(setting=source.setting or "Debian archive", value=value))
    return found


def snapshots_found(snapshots: Iterable[str]) -> Iterator[Found]:
    """The archives that are asked last."""
    for uri in snapshots:
        yield Found(setting="MLRUNTIME_DEBIAN_SNAPSHOT", value=without_secrets(uri))


def logins_found(logins: tuple[Login, ...]) -> list[Found]:
    """Whom logins are for; never the logins themselves."""
    found = []
    for login in logins:
        place = (login.host or "any host") + (f":{login.port}" if login.port else "")
        found.append(Found(setting=login.setting, value=f"a login for {place}{login.path}"))
    return found


def unreadable_found(trouble: str) -> Found:
    """A file of logins that cannot be read."""
    hint = "mend the file; until then it has no logins"
    return Found(setting="logins", value=trouble, works=False, hint=hint)


def forbidden_found(paths: Iterable[Path]) -> Iterator[Found]:
    """Files that this user may not read."""
    for path in paths:
        yield Found(setting=str(path), value="this user may not read it", works=False)


def keyring_found(setting: str | None, environ: Mapping[str, str]) -> Iterator[Found]:
    """Whether passwords are asked of ``keyring``, if a setting says so."""
    if not setting:
        return
    if shutil.which("keyring", path=environ.get("PATH")) is None:
        value, hint = "`keyring` is not installed", "install it, or unset this"
        yield Found(setting=setting, value=value, works=False, hint=hint)
    else:
        yield Found(setting=setting, value="passwords are asked of `keyring`")
