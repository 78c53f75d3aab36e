"""Logins for container registries, where docker and podman keep them.

``docker login`` writes ``config.json`` into ``DOCKER_CONFIG`` (else ``~/.docker``), podman and
skopeo write ``auth.json``; both have the same form. A password is there in Base64, or with a
program of the host, ``docker-credential-NAME``, which is asked for each host once in a run.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from mlruntime.errors import CommandFailed, Unavailable
from mlruntime.host.command import run
from mlruntime.host.settings.credentials import Login
from mlruntime.host.settings.files import is_there

_HELPER_SECONDS: Final = 60.0
# What Docker Hub is called in these files, by the host that its API has.
_HUB: Final = {"registry-1.docker.io": "https://index.docker.io/v1/"}
# The user name by which a helper says that the password is a token for the token service.
TOKEN_USER: Final = "<token>"


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistryLogins:
    """The files with logins, in the order in which they are asked."""

    files: tuple[Path, ...] = ()
    ask: Callable[[str, str], str] = field(default=lambda helper, host: helper_says(helper, host))

    def of(self, host: str) -> Login | None:
        """Return the login for ``HOST[:PORT]``, ``None`` when there is none.

        A login whose user is ``TOKEN_USER`` has a refresh token for a password. A file that is
        no JSON raises ``Unavailable``: to go on without a login would blame the registry.
        """
        for path in self.files:
            if found := self._in_file(path, host):
                return found
        return None

    def _in_file(self, path: Path, host: str) -> Login | None:
        try:
            top = json.loads(path.read_text(encoding="utf-8"))
            helpers, auths = top.get("credHelpers") or {}, top.get("auths") or {}
            names = [name for name in _names(host) if name in helpers or name in auths]
            helper = helpers.get(names[0]) if names else None
            helper = helper or top.get("credsStore")
            if helper and (found := self._of_helper(str(helper), host, path)):
                return found
            return next(filter(None, (_entry(auths.get(n), host, path) for n in names)), None)
        except (ValueError, AttributeError, TypeError, OSError) as problem:
            raise Unavailable(
                "the file with logins for registries cannot be read",
                where=str(path),
                why=str(problem),
                hint="correct it, or write a new one with `docker login`",
            ) from None

    def _of_helper(self, helper: str, host: str, path: Path) -> Login | None:
        try:
            said = json.loads(self.ask(helper, _HUB.get(host, host)))
            user, secret = str(said["Username"]), str(said["Secret"])
        except CommandFailed:  # it has no such login, or is not installed
            return None
        except (ValueError, KeyError, TypeError):
            return None
        return Login(host=host, user=user, password=secret, setting=f"{path} ({helper})")


def _names(host: str) -> Iterator[str]:
    """Yield what an entry for a host may be called."""
    if host in _HUB:
        yield _HUB[host]
    yield host
    yield f"https://{host}"
    yield f"http://{host}"


def _entry(entry: Any, host: str, path: Path) -> Login | None:
    if not entry:
        return None
    if token := entry.get("identitytoken"):
        return Login(host=host, user=TOKEN_USER, password=str(token), setting=str(path))
    if not entry.get("auth"):
        return None
    try:
        plain = base64.b64decode(entry["auth"], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError(f"the entry of {host} has no login that can be read") from None
    user, colon, password = plain.partition(":")
    if not colon:
        raise ValueError(f"the entry of {host} has no password")
    return Login(host=host, user=user, password=password, setting=str(path))


def helper_says(helper: str, host: str) -> str:
    """Return what a credential helper prints for a host; ``CommandFailed`` when it has nothing."""
    return run([f"docker-credential-{helper}", "get"], stdin=host, timeout=_HELPER_SECONDS)


def registry_logins(environ: Mapping[str, str], home: Path) -> RegistryLogins:
    """Return where this user's logins are: ``REGISTRY_AUTH_FILE``, docker's, then podman's."""
    docker = Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    files = [docker]
    if given := environ.get("REGISTRY_AUTH_FILE"):
        files.insert(0, Path(given))
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        files.append(Path(runtime) / "containers/auth.json")
    return RegistryLogins(files=tuple(filter(is_there, files)), ask=cache(helper_says))
