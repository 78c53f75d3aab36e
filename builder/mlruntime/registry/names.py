"""What an image is called in a registry: ``HOST[:PORT]/PATH``, ``:TAG``, ``@DIGEST``."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from mlruntime.errors import UsageError

# The grammars are those of the distribution specification 1.1.
_PATH: Final = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]+)?")
_PORTS: Final = {"http": 80, "https": 443}
_EXAMPLE: Final = "for example registry.example.org/team/ml, or localhost:5000/ml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Name:
    """A repository of a registry, and the tag or digest of an image in it, where one is named.

    ``host`` has the port, ``secure`` says whether it is spoken to with TLS.
    """

    host: str
    path: str
    tag: str | None = None
    digest: str | None = None
    secure: bool = True

    @property
    def repository(self) -> str:
        """Return ``HOST/PATH``."""
        return f"{self.host}/{self.path}"

    @property
    def api(self) -> str:
        """Return the address that all of the repository's addresses begin with."""
        return f"http{'s' if self.secure else ''}://{self.host}/v2/{self.path}"

    def is_at(self, url: str) -> bool:
        """Return whether an address is the registry's own: same scheme, host and port."""
        return _origin(url) == _origin(self.api)

    def may_send_to(self, url: str) -> bool:
        """Return whether what the registry is sent may go to an address: not in clear."""
        return is_safe(url) and not (self.secure and _origin(url)[0] == "http")

    @property
    def text(self) -> str:
        """Return the name in full."""
        tag = f":{self.tag}" if self.tag else ""
        return self.repository + tag + (f"@{self.digest}" if self.digest else "")


def parse_name(text: str) -> Name:
    """Read ``[http[s]://]HOST/PATH[:TAG][@DIGEST]``, or raise ``UsageError``.

    Without a scheme it is HTTPS, but for this machine (``localhost``, ``127.0.0.0/8``, ``::1``):
    there it is HTTP, as registries for tests have it. HTTP to another machine is refused.
    """
    scheme, _, rest = text.rpartition("://")
    rest, at, digest = rest.partition("@")
    host, slash, path = rest.partition("/")
    path, colon, tag = path.partition(":")
    if not slash or not _HOST.fullmatch(host) or not _PATH.fullmatch(path):
        raise UsageError(f"{text!r} names no repository of a registry", hint=_EXAMPLE)
    if (colon and not _TAG.fullmatch(tag)) or (at and not _DIGEST.fullmatch(digest)):
        raise UsageError(
            f"{text!r} names no image", why=f"{(digest if at else tag)!r} is no tag or digest"
        )
    if scheme not in ("", "http", "https"):
        raise UsageError(f"{text!r} names no repository of a registry", hint=_EXAMPLE)
    if scheme == "http" and not is_here(host):
        raise UsageError(
            f"{host} would be reached without encryption",
            why="anyone on the way could read the login and change what is pulled",
            hint="only a registry on this machine may be reached by plain HTTP",
        )
    secure = scheme == "https" or (not scheme and not is_here(host))
    return Name(host=host, path=path, tag=tag or None, digest=digest or None, secure=secure)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port; of what is no address, nothing that a repository is at."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return "", None, None


def is_safe(url: str) -> bool:
    """Return whether nobody on the way to an address can read what is sent."""
    scheme, host, _ = _origin(url)
    return host is not None and (scheme == "https" or (scheme == "http" and is_here(host)))


def is_here(host: str) -> bool:
    """Return whether ``HOST[:PORT]`` is this machine."""
    found = _HOST.fullmatch(host)
    bare = found[1].strip("[]") if found else host
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False
