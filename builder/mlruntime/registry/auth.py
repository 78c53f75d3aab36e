"""Logging in to a registry: Basic, or a token of the service that the registry names."""

import re
import threading
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode

from mlruntime.errors import Unavailable
from mlruntime.fetch.retries import TemporaryFailure
from mlruntime.fetch.web import Answer, Web, with_query
from mlruntime.host.settings import without_secrets
from mlruntime.host.settings.containers import TOKEN_USER
from mlruntime.host.settings.credentials import Login
from mlruntime.registry.names import Name, is_safe

_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')
_LOGIN_HINT: Final = "log in: `docker login {host}`; its files and credential helpers are read"
# In a scope: before the path of another repository that blobs are mounted from.
ALSO: Final = " from "
# Refusals, as the distribution specification has them.
REFUSED: Final = (401, 403)


class Authorization:
    """Authorizes requests to a repository: by nothing, a password, or a token for each scope.

    Safe to use from many threads.
    """

    def __init__(self, web: Web, name: Name, login: Callable[[str], Login | None]) -> None:
        self._web = web
        self._name = name
        self._login = login
        self._guard = threading.Lock()
        self._held: dict[str, str] = {}

    def headers(self, scope: str) -> dict[str, str]:
        """Return the header that was good for this scope the last time."""
        held = self._held.get(scope)
        return {"Authorization": held} if held else {}

    def answer(self, challenge: Answer, scope: str, used: Mapping[str, str]) -> bool:
        """Get the credentials that a 401 asks for; return whether another try has a chance.

        ``used`` is the header of the request that was refused.
        """
        with self._guard:
            if self._held.get(scope) not in (None, used.get("Authorization")):
                return True  # another thread was faster
            said = challenge.headers.get("WWW-Authenticate", "")
            kind, _, rest = said.partition(" ")
            login = self._login(self._name.host)
            if kind.lower() == "bearer":
                got = self._token(dict(_PARAMETER.findall(rest)), scope, login)
            elif login is not None:
                got = login.basic
            else:
                return False
            again = got != used.get("Authorization")
            self._held[scope] = got
            return again

    def _token(self, challenge: Mapping[str, str], scope: str, login: Login | None) -> str:
        realm = challenge.get("realm", "")
        if not is_safe(realm):
            raise Unavailable(
                f"{self._name.host} wants its token from an address that is not safe",
                where=without_secrets(realm),
                why="the login would travel without encryption",
            )
        actions, _, other = scope.partition(ALSO)
        scopes = [f"repository:{self._name.path}:{actions}"]
        if other:
            scopes.append(f"repository:{other}:pull")
        fields: dict[str, str | list[str]] = {"scope": scopes}
        if service := challenge.get("service"):
            fields["service"] = service
        if login is not None and login.user == TOKEN_USER:
            answer = self._refreshed(realm, fields, login)
        else:
            headers = {"Authorization": login.basic} if login else {}
            address = with_query(realm, fields)
            answer = self._web.once("GET", address, headers=headers)
        if answer.status_code in REFUSED:
            raise self.refused("the token service refused the request", answer)
        try:
            said = answer.json()
            return f"Bearer {said.get('token') or said['access_token']}"
        except (ValueError, KeyError, AttributeError):
            raise TemporaryFailure(
                f"the token service gave no token (HTTP status {answer.status_code})"
            ) from None

    def _refreshed(self, realm: str, fields: Mapping[str, str | list[str]], login: Login) -> Answer:
        form = {**fields, "grant_type": "refresh_token", "refresh_token": login.password or ""}
        body = urlencode({**form, "client_id": "mlruntime"}, doseq=True)
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._web.once("POST", realm, headers=kind, content=body.encode())

    def refused(self, what: str, answer: Answer) -> Unavailable:
        """Return the error for a login that is missing or not good enough."""
        login = self._login(self._name.host)
        given = f"the login of {login.setting}" if login else "no login"
        return Unavailable(
            what,
            where=self._name.repository,
            why=f"HTTP status {answer.status_code}, with {given}",
            hint=_LOGIN_HINT.format(host=self._name.host),
        )
