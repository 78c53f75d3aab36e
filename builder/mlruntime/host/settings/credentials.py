"""Logins for registries: from URLs, variables, netrc, apt, Maven and keyring."""

import netrc
import tomllib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mlruntime.errors import UsageError
from mlruntime.host.secrets import taken_apart, without_secrets
from mlruntime.host.settings.files import is_there

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """A user name and password for a host, or for a part of it, and the setting they are from.

    ``host`` empty is any host; ``port`` and ``scheme`` ``None`` any of them. ``path`` limits it
    to addresses below, but with ``whole`` it is only preferred there: an index's files may be
    elsewhere on its host. ``part`` limits it to one ecosystem. ``password`` ``None`` is not known
    yet (a keyring may have it). ``headers`` go with every request instead of a password.
    """

    host: str
    setting: str
    user: str = field(default="", repr=False)
    password: str | None = field(default=None, repr=False)
    port: int | None = None
    scheme: str | None = None
    path: str = ""
    whole: bool = False
    part: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def basic(self) -> str:
        """Return the value of an ``Authorization`` header with the password."""
        return "Basic " + b64encode(f"{self.user}:{self.password or ''}".encode()).decode()

    @property
    def services(self) -> tuple[str, ...]:
        """Return the names under which a keyring may have the password, as uv asks for them."""
        usual = self.port in (None, _PORTS.get(self.scheme or ""))
        place = self.host if usual else f"{self.host}:{self.port}"
        return (f"{self.scheme or 'https'}://{place}{self.path}", place)

    def rank(self, url: str, part: str | None) -> int | None:
        """Return how well it fits an address, ``None`` when it does not."""
        split = urlsplit(url)
        port = split.port or _PORTS.get(split.scheme)
        if self.host and self.host != (split.hostname or "").lower():
            return None
        if self.port not in (None, port) or self.scheme not in (None, split.scheme):
            return None
        if self.part not in (None, part):
            return None
        below = split.path == self.path.rstrip("/") or split.path.startswith(
            self.path.rstrip("/") + "/"
        )
        if below:
            return 1 + len(self.path)
        return 0 if self.whole else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """All logins of a host, the most explicit ones first; ``keyring`` asks that program too."""

    logins: tuple[Login, ...] = ()
    keyring: str | None = None

    def of(self, url: str, part: str | None = None) -> Login | None:
        """Return the login for an address: of those that fit best, the first."""
        best: Login | None = None
        highest = -1
        for login in self.logins:
            rank = login.rank(url, part)
            if rank is not None and login.host and rank > highest:
                best, highest = login, rank
        if best is not None and best.password is None and not best.headers:
            known = [o for o in self.logins if o.user == best.user and o.password is not None]
            fits = [o for o in known if o.rank(url, part) is not None]
            return replace(best, password=fits[0].password) if fits else best
        return best or next((o for o in self.logins if o.rank(url, part) is not None), None)


def of_url(url: str, setting: str, part: str) -> tuple[str, tuple[Login, ...]]:
    """Return an address without its user name and password, and the login they are."""
    try:
        bare, user, password = taken_apart(url)
        _ = urlsplit(bare).port
    except ValueError as error:
        raise UsageError(
            f"{setting} has an invalid address: {without_secrets(url)}", why=str(error)
        ) from None
    if not user and password is None:
        return bare, ()
    return bare, (_at(bare, setting, user, password, part),)


def of_variables(environ: Mapping[str, str], name: str, url: str, part: str) -> tuple[Login, ...]:
    """Return uv's login for a named index: ``UV_INDEX_NAME_USERNAME`` and ``_PASSWORD``."""
    stem = "UV_INDEX_" + "".join(c if c.isalnum() else "_" for c in name.upper())
    user, password = environ.get(f"{stem}_USERNAME"), environ.get(f"{stem}_PASSWORD")
    if user is None and password is None:
        return ()
    return (_at(url, f"{stem}_USERNAME", user or "", password, part),)


def _at(url: str, setting: str, user: str, password: str | None, part: str) -> Login:
    split = urlsplit(url)
    return Login(
        host=(split.hostname or "").lower(),
        port=split.port or _PORTS.get(split.scheme),
        scheme=split.scheme,
        path=split.path,
        whole=True,
        user=user,
        password=password,
        setting=setting,
        part=part,
    )


def netrc_file(environ: Mapping[str, str], home: Path) -> Path:
    """Return where the logins of curl, uv and pip are."""
    return Path(environ.get("NETRC") or home / ".netrc")


def of_netrc(environ: Mapping[str, str], home: Path) -> tuple[tuple[Login, ...], str | None]:
    """Return the logins of ``NETRC`` or ``~/.netrc``, and what is wrong with that file, if so."""
    named, path = environ.get("NETRC"), netrc_file(environ, home)
    if not is_there(path):
        return (), f"NETRC names a file that is not there: {path}" if named else None
    try:
        hosts = netrc.netrc(str(path)).hosts
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        why = getattr(error, "msg", None) or getattr(error, "strerror", None) or "not text"
        return (), f"{path} cannot be read: {why}" + (f" (line {line})" if line else "")
    found = [
        Login(
            host="" if host == "default" else host.lower(),
            user=user or "",
            password=password or "",
            setting=str(path),
        )
        for host, (user, _, password) in hosts.items()
    ]
    return tuple(sorted(found, key=lambda login: not login.host)), None


def uv_file(environ: Mapping[str, str], home: Path) -> Path:
    """Return where ``uv auth login`` stores logins."""
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
    folder = Path(environ.get("UV_CREDENTIALS_DIR") or data / "uv/credentials")
    return folder / "credentials.toml"


def of_uv(environ: Mapping[str, str], home: Path) -> tuple[tuple[Login, ...], str | None]:
    """Return what ``uv auth login`` has stored, and what is wrong with that file, if so."""
    path = uv_file(environ, home)
    if not is_there(path):
        return (), None
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("credential", [])
        found = [
            _stored(entry, str(path))
            for entry in entries
            if entry.get("scheme", "basic") == "basic"
        ]
    # No TOML, or other tables than uv writes: entries without a name, an address with a bad port.
    except (ValueError, OSError, KeyError, TypeError, AttributeError):
        return (), f"{path} cannot be read"
    return tuple(found), None


def _stored(entry: Mapping[str, object], setting: str) -> Login:
    service, user, password = entry["service"], entry["username"], entry["password"]
    if not (isinstance(service, str) and isinstance(user, str) and isinstance(password, str)):
        raise TypeError("not text")
    return replace(_at(service, setting, user, password, "pypi"), whole=False)


def of_apt(files: Iterable[Path]) -> tuple[tuple[Login, ...], tuple[str, ...]]:
    """Return the logins of apt's ``auth.conf`` files, and which files are wrong; apt_auth.conf(5).

    Without a protocol an entry is for ``https`` alone.
    """
    found: list[Login] = []
    troubles: list[str] = []
    for path in files:
        try:
            found += [*_apt_logins(path.read_text(encoding="utf-8").split(), str(path))]
        except OSError:  # root's alone, as it should be
            continue
        except UnicodeDecodeError:
            troubles.append(f"{path} cannot be read: not text")
        except ValueError as error:
            troubles.append(f"{path} cannot be read: a `machine` is no host ({error})")
    return tuple(found), tuple(troubles)


def _apt_logins(words: list[str], setting: str) -> Iterator[Login]:
    entry: dict[str, str] = {}
    rest = iter([*words, "machine", ""])
    for key in rest:
        if key == "machine":
            if entry.get("machine"):
                yield _apt_login(entry, setting)
            entry = {"machine": next(rest, "")}
        elif key in ("login", "password"):
            entry.setdefault(key, next(rest, ""))


def _apt_login(entry: Mapping[str, str], setting: str) -> Login:
    scheme, _, rest = entry["machine"].rpartition("://")
    split = urlsplit(f"//{rest}")
    return Login(
        host=(split.hostname or "").lower(),
        port=split.port,
        scheme=scheme or "https",
        path=split.path,
        user=entry.get("login", ""),
        password=entry.get("password", ""),
        setting=setting,
        part="debian",
    )
