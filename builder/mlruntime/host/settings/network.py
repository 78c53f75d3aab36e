"""How registries are reached: the settings that every part of the tool gets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mlruntime.host.settings.credentials import Credentials
from mlruntime.host.settings.proxies import Proxies, matches


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A setting of this host: its name, what it says (nothing secret), and whether it works.

    ``needed`` says that nothing can be downloaded unless it does.
    """

    setting: str
    value: str
    works: bool = True
    needed: bool = False
    hint: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """Proxies, credentials, certificates and time limits.

    ``ca_directories`` are trusted beside the CA bundle; ``insecure`` are hosts, perhaps with a
    port, whose certificates are not checked; ``client_certificate`` is a PEM file with a key.
    ``timeout`` is how long a server may be silent, in seconds. ``offline`` is the setting that
    forbids indexes to be asked, if there is one. ``keyring`` asks the ``keyring`` program for the
    password of (service, user).
    """

    proxies: Proxies = field(default_factory=Proxies)
    credentials: Credentials = field(default_factory=Credentials)
    ca_directories: tuple[Path, ...] = ()
    insecure: tuple[str, ...] = ()
    client_certificate: Path | None = None
    timeout: float | None = None
    offline: str | None = None
    keyring: Callable[[str, str], str | None] = lambda _url, _user: None

    def verified(self, host: str, port: int) -> bool:
        """Return whether a host's certificate is checked."""
        return not any(matches(entry, host, port) for entry in self.insecure if entry != "*")
