"""Where this host's own clients get packages, and how they reach it: read once, for every part.

A lock names no host. What pip, uv, apt and Maven are configured to use on this host is what we
use; where nothing is configured, the default is the one that the client libraries carry.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mlruntime.errors import CommandFailed, UsageError
from mlruntime.host.command import run
from mlruntime.host.secrets import without_secrets
from mlruntime.host.settings.apt import AptSettings, apt_settings, mentions
from mlruntime.host.settings.certificates import authorities
from mlruntime.host.settings.conda import CondaSettings, conda_files, conda_settings
from mlruntime.host.settings.credentials import (
    Credentials,
    netrc_file,
    of_apt,
    of_netrc,
    of_url,
    of_uv,
    uv_file,
)
from mlruntime.host.settings.debian import AptSource, debian_files, debian_sources, suite_part
from mlruntime.host.settings.files import forbidden, is_there, listed
from mlruntime.host.settings.found import (
    client_found,
    debian_found,
    forbidden_found,
    keyring_found,
    logins_found,
    proxies_found,
    proxy_found,
    snapshots_found,
    trust_found,
    unreadable_found,
)
from mlruntime.host.settings.maven import maven_files, maven_settings
from mlruntime.host.settings.network import Found, Network
from mlruntime.host.settings.proxies import Proxies, environment
from mlruntime.host.settings.python import PythonSettings, pip_files, python_settings, uv_files

_KEYRING_SECONDS: Final = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The registries of one host; no address here has a user name or a password in it.

    ``indexes`` are PEP 503 indexes, the default one last; ``maven`` is a repository in Maven's
    layout (``https:`` or ``file:``); ``debian`` may be empty on a host without apt; ``conda`` says
    where channels are.
    ``snapshots`` are archives asked last, for packages that mirrors have dropped. ``network``
    says how all are reached; ``found`` which settings were read, and ``apt`` asks apt for its own.
    """

    indexes: tuple[str, ...]
    maven: str
    debian: tuple[AptSource, ...]
    ca_bundle: Path | None = None
    snapshots: tuple[str, ...] = ()
    conda: CondaSettings = field(default_factory=CondaSettings)
    network: Network = field(default_factory=Network)
    found: tuple[Found, ...] = ()
    apt: Callable[[], AptSettings] = AptSettings

    def settings(self) -> tuple[Found, ...]:
        """Return every setting of this host that was read, apt's own too."""
        apt = self.apt()
        own = (found for found in map(proxy_found, apt.rules.proxies))
        return tuple(dict.fromkeys((*self.found, *own, *apt.found)))

    def debian_uris(self, suite: str) -> tuple[str, ...]:
        """Return the archives that may hold a file of a suite, the likeliest first."""
        part = suite_part(suite)
        ranked = sorted(self.debian, key=lambda source: source.part != part)
        return tuple(dict.fromkeys((*(source.uri for source in ranked), *self.snapshots)))


def discover(
    environ: Mapping[str, str],
    *,
    home: Path,
    etc: Path = Path("/etc"),
    ca_bundle: Path | None = None,
    apt_config: Callable[[], str] = lambda: run(["apt-config", "dump"]),
) -> Sources:
    """Read the host's client configuration.

    ``ca_bundle`` (from the command line) goes before the environment's variables;
    ``apt_config`` prints apt's own, and is asked only where that says anything. Raises
    ``UsageError`` when a file that was named is not there.
    """
    python = python_settings(environ, home, etc)
    maven = maven_settings(environ, home, etc)
    conda = conda_settings(environ, home, etc)
    debian = tuple(debian_sources(environ, etc))
    past = [of_url(uri, "MLRUNTIME_DEBIAN_SNAPSHOT", "debian") for uri in _snapshots(environ)]
    snapshots = tuple(uri.rstrip("/") for uri, _ in past)
    trust = authorities(environ, ca_bundle, python.cert)
    apt = cache(lambda: _apt(debian, etc, apt_config))
    proxies = Proxies(
        environment=environment(environ),
        parts=(("pypi", python.rules), ("maven", maven.rules)),
        later=(("debian", lambda: apt().rules),),
    )
    netrc, netrc_trouble = of_netrc(environ, home)
    stored, store_trouble = of_uv(environ, home)
    of_archives, apt_troubles = of_apt(_apt_logins(etc))
    logins = (
        *python.logins,
        *maven.logins,
        *conda.logins,
        *(login for source in debian for login in source.login),
        *(login for _, logins in past for login in logins),
        *of_archives,
        *netrc,
        *stored,
    )
    network = Network(
        proxies=proxies,
        credentials=Credentials(logins=logins, keyring=python.keyring),
        ca_directories=trust.directories,
        insecure=python.insecure,
        client_certificate=_client_certificate(python),
        timeout=python.timeout,
        offline=python.offline,
        keyring=_keyring(environ) if python.keyring else lambda _url, _user: None,
    )
    # In the order in which `doctor` lists them.
    found = (
        *proxies_found(proxies),
        *trust_found(trust.setting, trust.bundle, trust.directories),
        *client_found(python),
        *python.found,
        *maven.found,
        *conda.found,
        *debian_found(debian),
        *snapshots_found(snapshots),
        *logins_found(logins),
        *map(unreadable_found, filter(None, (netrc_trouble, store_trouble, *apt_troubles))),
        *forbidden_found(forbidden(_files(environ, home, etc))),
        *keyring_found(python.keyring, environ),
    )
    return Sources(
        indexes=python.indexes,
        maven=maven.url,
        debian=debian,
        conda=conda,
        ca_bundle=trust.bundle,
        snapshots=snapshots,
        network=network,
        found=tuple(dict.fromkeys(found)),
        apt=apt,
    )


def _files(environ: Mapping[str, str], home: Path, etc: Path) -> Iterator[Path]:
    """Yield the files of all clients, but those with apt's logins: these are root's alone."""
    yield from (netrc_file(environ, home), uv_file(environ, home))
    yield from (*uv_files(environ, home, etc), *pip_files(environ, home, etc))
    yield from (*maven_files(home, etc), *conda_files(environ, home, etc), *debian_files(etc))


def _snapshots(environ: Mapping[str, str]) -> list[str]:
    words = environ.get("MLRUNTIME_DEBIAN_SNAPSHOT", "").split()
    for word in words:
        if not word.startswith(("http://", "https://", "file:")):
            raise UsageError(
                f"MLRUNTIME_DEBIAN_SNAPSHOT names no archive: {without_secrets(word)}",
                hint="give the address that has pool/, with the time: http://…/20261120T000000Z",
            )
    return words


def _apt(debian: tuple[AptSource, ...], etc: Path, apt_config: Callable[[], str]) -> AptSettings:
    remote = any(urlsplit(source.uri).scheme in ("http", "https") for source in debian)
    if not remote or not mentions(etc):
        return AptSettings()
    try:
        return apt_settings(apt_config())
    except CommandFailed:  # a host that has the files and not the program
        return AptSettings()


def _client_certificate(python: PythonSettings) -> Path | None:
    for setting, value in python.client_cert:
        if not is_there(Path(value)):
            raise UsageError(f"{setting} names a file that is not there: {value}")
        return Path(value)
    return None


def _apt_logins(etc: Path) -> Iterator[Path]:
    files = (etc / "apt/auth.conf", *listed(etc / "apt/auth.conf.d", "*.conf"))
    return filter(is_there, files)


def _keyring(environ: Mapping[str, str]) -> Callable[[str, str], str | None]:
    """Return what asks the ``keyring`` program, each question once in a run."""

    @cache
    def ask(url: str, user: str) -> str | None:
        try:
            said = run(["keyring", "get", url, user], env=dict(environ), timeout=_KEYRING_SECONDS)
        except CommandFailed:  # it has no such entry, or is not installed
            return None
        return said.rstrip("\n") or None

    return ask
